"""Traits as Postgres has them and as ClickHouse gives them back -> the same, others, or nobody can tell.

ClickHouse's JSON keeps no nulls and nothing empty, one type for all items of an array, and escapes dots in names. What
it cannot hold at all the recorder leaves out.
"""

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any


class Likeness(Enum):
    """From the best to the worst."""

    SAME = 0
    UNTOLD = 1  # what is missing, and arrays that changed their types
    OTHER = 2


def compared(kept: Mapping[str, Any], replica: Mapping[str, Any]) -> Likeness:
    """The worst of all names."""
    ours, theirs = _there(kept), _there(replica)
    found = {Likeness.UNTOLD} if ours.keys() - theirs.keys() else {Likeness.SAME}
    if theirs.keys() - ours.keys():
        found.add(Likeness.OTHER)
    found |= {_alike(ours[name], theirs[name]) for name in ours.keys() & theirs.keys()}
    return max(found, key=lambda one: one.value)


def _alike(ours: Any, theirs: Any) -> Likeness:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return compared(ours, theirs)
    if isinstance(ours, list) and isinstance(theirs, list):
        if ours == theirs:
            return Likeness.SAME
        return Likeness.OTHER if _of_one_kind(ours) and _of_one_kind(theirs) else Likeness.UNTOLD
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return Likeness.SAME if ours is theirs else Likeness.OTHER
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        return Likeness.SAME if float(ours) == float(theirs) else Likeness.OTHER
    return Likeness.SAME if theirs in (ours, json.dumps(ours)) else Likeness.OTHER


def _there(traits: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is nothing, under the names that were sent."""
    found = {name.replace("%2E", "."): _solid(content) for name, content in traits.items()}
    return {name: content for name, content in found.items() if content not in (None, {}, [])}


def _solid(content: Any) -> Any:
    return _there(content) if isinstance(content, dict) else content


def _of_one_kind(items: Sequence[Any]) -> bool:
    """Whether all are texts, or all are numbers."""
    return all(isinstance(one, str) for one in items) or all(type(one) in (int, float) for one in items)
