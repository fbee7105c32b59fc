"""People whose events become too old, and who was told to have left -> waits, or that the product is wrong."""

import math
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from bench import expiry
from bench.expiry import P15, waits_of

DUE = {uuid4(): 100.0 + number for number in range(200)}


def test_waits_are_counted_from_when_each_was_due() -> None:
    assert waits_of(DUE, {one: at + 0.5 for one, at in DUE.items()}) == [0.5] * len(DUE)


def test_who_was_never_told_is_no_outlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two hundred is no hundredth, and nobody may be forgotten."""
    told = {one: at + 0.5 for one, at in DUE.items()}
    del told[next(iter(DUE))]

    async def waits(_: object) -> list[float]:
        return waits_of(DUE, told)

    monkeypatch.setattr(expiry, "_waits", waits)
    whole: Any = SimpleNamespace(fill=lambda: None)
    (row,) = expiry.flipped(whole)
    assert row.value == math.inf and not P15.judged(row).floor_met


def test_who_leaves_too_soon_is_no_quick_flip() -> None:
    told = {one: at + 0.5 for one, at in DUE.items()}
    with pytest.raises(AssertionError, match="1 people left whose events are not too old"):
        waits_of(DUE, {**told, uuid4(): 100.0})
    with pytest.raises(AssertionError, match="200 people left before"):
        waits_of(DUE, dict.fromkeys(DUE, 0.0))
