"""Rows of figures -> a table for people and ``bench/results.json`` for machines."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside its bare baseline from the same run; ``ratio`` is ours / baseline."""

    id: str
    what: str
    value: float
    unit: str
    baseline: float | None
    ratio: float | None
    goal: str
    met: bool


def markdown(rows: Sequence[Row]) -> str:
    """The table as the README shows it."""
    lines = ["| id | what | measured | bare baseline | ratio | goal | met |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        baseline = "–" if row.baseline is None else f"{_number(row.baseline)} {row.unit}"
        ratio = "–" if row.ratio is None else f"{row.ratio:.2f}"
        met = "yes" if row.met else "no"
        lines.append(
            f"| {row.id} | {row.what} | {_number(row.value)} {row.unit} | {baseline} | {ratio} | {row.goal} | {met} |"
        )
    return "\n".join(lines)


def save(rows: Sequence[Row]) -> None:
    """Writes the rows, newest run only."""
    RESULTS.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
