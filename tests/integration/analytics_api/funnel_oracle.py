"""What a funnel means, in plain Python and with no thought of speed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from .conftest import EventRow


@dataclass(frozen=True)
class Answer:
    reached: list[int]
    times: list[list[int]]


def longest_way(events: list[tuple[int, set[int]]], steps: int, window_ms: int, strict: bool) -> dict[int, int]:
    """Step (from 1) -> milliseconds from the start of its first completion; the shortest way to it.

    Tries every start and, for each, every way to take the steps in order.
    """
    best: dict[int, tuple[int, int]] = {}  # step -> (place of its completion, time taken)
    for start, (began, possible) in enumerate(events):
        if 1 not in possible:
            continue
        places = {start}
        for step in range(1, steps + 1):
            if step > 1:
                after = (
                    {p + 1 for p in places} if strict else set(range(min(places, default=len(events)) + 1, len(events)))
                )
                places = {
                    p for p in after if p < len(events) and step in events[p][1] and events[p][0] - began <= window_ms
                }
            if not places:
                break
            end = min(places)
            found = (end, events[end][0] - began)
            best[step] = min(best.get(step, found), found)
    return {step: taken for step, (_, taken) in best.items()}


def ask(
    rows: list[EventRow],
    profile_of: dict[UUID, UUID],
    step_names: list[set[str]],
    window_ms: int,
    strict: bool,
) -> Answer:
    trails: dict[UUID, list[tuple[int, set[int]]]] = defaultdict(list)
    for row in rows:
        possible = {k for k, names in enumerate(step_names, 1) if row.event in names}
        if possible or strict:
            trails[profile_of.get(row.node_id, row.node_id)].append((row.at_ms, possible))
    taken: dict[int, list[int]] = defaultdict(list)
    for trail in trails.values():
        # events of one millisecond count in the order of the first step that each can be
        trail.sort(key=lambda event: (event[0], [step not in event[1] for step in range(1, len(step_names) + 1)]))
        for step, time in longest_way(trail, len(step_names), window_ms, strict).items():
            taken[step].append(time)
    reached = [len(taken[k]) for k in range(1, len(step_names) + 1)]
    times = [quantiles(taken[k]) for k in range(2, len(step_names) + 1)]
    return Answer(reached, times)


def quantiles(values: list[int]) -> list[int]:
    ordered = sorted(values)
    return [ordered[int(level * len(ordered))] for level in (0.5, 0.9)] if ordered else [0, 0]
