"""What the stand-in holds -> one plain HTML page."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

from cdp_activation.standin.state import State

_SHOWN: Final = 25
_HEAD: Final = """<!doctype html><meta charset="utf-8"><title>Stand-in platforms</title>
<meta http-equiv="refresh" content="5"><style>
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0 2rem}th,td{text-align:left;padding:.2rem .6rem;
border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}th,td{border-color:#333}}</style>
<h1>Stand-in for the marketing platforms</h1>
<p>Local only. It takes calls as the platforms do and keeps what it was sent. See <a href="docs">its API</a>.</p>
"""


def page(state: State) -> str:
    """Audiences, the first members of each, and the last calls."""
    parts = [_HEAD, "<h2>Audiences</h2>"]
    parts.append(
        _table(
            ("account", "audience", "name", "members"),
            [(a["account"], a["id"], a["name"], a["members"]) for a in state.audiences()],
        )
    )
    for audience in state.audiences():
        members = state.members(audience["id"])[:_SHOWN]
        if members:
            parts.append(f"<h2>Members of {escape(audience['name'])}</h2>")
            parts.append(_table(tuple(members[0]), [[_short(value) for value in m.values()] for m in members]))
    hooked = state.hooked()[:_SHOWN]
    if hooked:
        parts.append("<h2>Members that webhooks told of</h2>")
        parts.append(_table(("audience", "profile"), [(m["audience"], m["profileId"]) for m in hooked]))
    parts.append("<h2>Last calls</h2>")
    parts.append(
        _table(
            ("at", "target", "call", "rows", "status", "note"),
            [
                (_time(c["at"]), c["target"], f"{c['method']} {c['path']}", c["rows"], c["status"], c["note"])
                for c in state.calls(_SHOWN)
            ],
        )
    )
    return "".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{lines}</table>"


def _short(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:10]}…"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")
