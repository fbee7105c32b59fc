"""Rows of figures -> a table for people and ``bench/results.json`` for machines."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import geometric_mean
from typing import Final

COMPOSED: Final = ("P1", "P2", "P5", "P12", "P14", "P15", "P17", "P18", "P23")
RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside its bare baseline from the same run; ``ratio`` is ours / baseline.

    ``goal`` and ``met`` are the release's, ``floor`` and ``floor_met`` those below which a change must not land.
    ``score``: how the value lies to the goal; 1 reaches it, more is better.
    ``noisy``: measured although something else used the machine, so neither is to be believed.
    """

    id: str
    what: str
    value: float
    unit: str
    baseline: float | None
    ratio: float | None
    goal: str
    met: bool
    floor: str = ""
    floor_met: bool | None = None
    score: float | None = None
    noisy: bool = False
    profile: str = ""


def markdown(rows: Sequence[Row]) -> str:
    """The table as the README shows it."""
    lines = [
        "| id | what | measured | bare baseline | ratio | release goal | met | floor | met |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        baseline = "–" if row.baseline is None else f"{_number(row.baseline)} {row.unit}"
        ratio = "–" if row.ratio is None else f"{row.ratio:.2f}"
        measured = f"{_number(row.value)} {row.unit}{' (noisy)' if row.noisy else ''}"
        cells = [row.id, row.what, measured, baseline, ratio, row.goal, _said(row.met)]
        lines.append(f"| {' | '.join([*cells, row.floor or '–', _said(row.floor_met)])} |")
    return "\n".join(lines)


def composite(rows: Sequence[Row]) -> str:
    """One number for all, with each of its parts: the geometric mean of goal / measured, rows of one id as one."""
    scores: dict[str, list[float]] = {}
    for row in rows:
        if row.score is not None:
            scores.setdefault(row.id.split()[0], []).append(row.score)
    parts = {name: _mean(scores[name]) for name in COMPOSED if name in scores}
    if not parts:
        return ""
    shown = ", ".join(f"{name} {_number(score)}" for name, score in parts.items())
    missing = ", ".join(name for name in COMPOSED if name not in parts)
    return (
        f"Composite {_number(_mean(list(parts.values())))}, where 1 is the goal and 2 is twice as good: {shown}."
        f"{f' Not measured: {missing}.' if missing else ''}"
    )


def save(rows: Sequence[Row], path: Path = RESULTS) -> None:
    """Writes the rows, newest run only."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def _mean(scores: Sequence[float]) -> float:
    """Geometric; 0 as soon as one is: what never came is endlessly far from its goal."""
    return geometric_mean(scores) if all(scores) else 0.0


def _said(met: bool | None) -> str:
    return "–" if met is None else ("yes" if met else "**no**")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
