"""Runs of faults <-> faults/ledger.json, which only grows; and its sums as a table."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

LEDGER = Path(__file__).with_name("ledger.json")
_COLUMNS = ("fault", "runs", "events", "kills", "lost", "duplicated", "LTV error", "violations", "seconds", "last seed")


@dataclass(frozen=True)
class Line:
    """One run of one fault; ``ltv_error`` in minor units."""

    fault: str
    seed: int
    events: int
    kills: int
    lost: int
    duplicated: int
    ltv_error: int
    violations: int
    seconds: float


def lines() -> list[Line]:
    """Everything that was ever run here."""
    if not LEDGER.exists():
        return []
    return [Line(**row) for row in json.loads(LEDGER.read_text())]


def append(line: Line) -> None:
    """Written whole and renamed: a run that is killed must not take the earlier ones along."""
    fresh = LEDGER.with_suffix(".tmp")
    fresh.write_text(json.dumps([asdict(one) for one in [*lines(), line]], indent=1) + "\n")
    fresh.replace(LEDGER)


def sums(some: list[Line], titles: dict[str, str]) -> list[tuple[str, ...]]:
    """One row per fault and one of all; the seed is that of the last run."""
    numbers = sorted({line.fault for line in some}, key=_place)
    rows = [_row(f"{n} {titles.get(n, '')}".strip(), [line for line in some if line.fault == n]) for n in numbers]
    return [*rows, _row("all", some)] if some else []


def _place(number: str) -> tuple[bool, int]:
    """F2 before F10, and what has no number of the plan last."""
    return not number[1:].isdigit(), int(number[1:]) if number[1:].isdigit() else 0


def table(some: list[Line]) -> Table:
    """For a terminal."""
    shown = Table(*_COLUMNS)
    for row in sums(some, {}):
        shown.add_row(*row)
    return shown


def markdown(some: list[Line], titles: dict[str, str]) -> str:
    """For docs/exactness.md."""
    head = ["| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
    return "\n".join([*head, *("| " + " | ".join(row) + " |" for row in sums(some, titles))])


def _row(name: str, some: list[Line]) -> tuple[str, ...]:
    def total(field: str) -> int:
        return int(sum(getattr(line, field) for line in some))

    fields = ("events", "kills", "lost", "duplicated", "ltv_error", "violations", "seconds")
    return (
        name,
        str(len(some)),
        *(f"{total(field):,}" for field in fields),
        "" if name == "all" else str(some[-1].seed),
    )
