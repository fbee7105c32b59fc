"""What the services' commands share: workspaces looked up, keys drawn, rows as text, faults as one sentence."""

import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import entry_points
from typing import Final

KNOWN_WORKSPACES: Final = "cdp.workspaces"  # entry point group: (Postgres URL) -> the ids of all workspaces
_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")  # they are parts of keys, with | between them


class CommandRefused(Exception):
    """A command cannot do what it was asked; the sentence says why and what would help."""


def checked_id(value: str, option: str) -> str:
    """An id of a workspace or source as it was given. Raises CommandRefused."""
    if _ID.fullmatch(value) is None:
        allowed = "lower-case letters, digits, - and _, at most 63, the first no - or _"
        raise CommandRefused(f"{option}: {value!r} is no id; ids are {allowed}.")
    return value


def new_key() -> str:
    """A write key or API token: 32 random bytes, in letters that need no escaping anywhere."""
    return secrets.token_urlsafe(32)


async def require_workspace(postgres_url: str, workspace_id: str) -> None:
    """Raises CommandRefused for a workspace that nobody created: a misspelled one would be found by no token."""
    for entry in entry_points(group=KNOWN_WORKSPACES):
        look: Callable[[str], Awaitable[Sequence[str]]] = entry.load()
        known = await look(postgres_url)
        if workspace_id not in known:
            there_are = f"there are {', '.join(known)}" if known else "there is none yet"
            raise CommandRefused(
                f"There is no workspace {workspace_id!r}; {there_are}. `cdp workspaces create` makes one."
            )


def as_text(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows in columns, for people and for ``awk``; an empty cell is a dash."""
    cells = [list(head), *([str(cell) if cell not in (None, "") else "-" for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "".join(f"{line}\n" for line in lines)
