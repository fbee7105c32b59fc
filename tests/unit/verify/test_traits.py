"""What ClickHouse makes of traits is no difference, and what it cannot tell is no violation."""

from typing import Any

import pytest

from cdp_verify.traits import Likeness, compared


@pytest.mark.parametrize(
    ("kept", "replica", "likeness"),
    [
        ({"plan": "gold", "n": 1, "in": {"a": True}}, {"plan": "gold", "n": 1.0, "in": {"a": True}}, Likeness.SAME),
        ({"plan": None, "empty": {}, "none": [], "in": {"a": None}}, {}, Likeness.SAME),
        ({"plan.tier": "x"}, {"plan%2Etier": "x"}, Likeness.SAME),
        ({"huge": 2**70}, {"huge": float(2**70)}, Likeness.SAME),
        ({"list": [1, 2]}, {"list": [1.0, 2.0]}, Likeness.SAME),
        ({"plan": "gold"}, {"plan": "free"}, Likeness.OTHER),
        ({"flag": True}, {"flag": 1}, Likeness.OTHER),
        ({"in": {"a": 1, "b": 1}}, {"in": {"a": 2}}, Likeness.OTHER),
        ({}, {"plan": "gold"}, Likeness.OTHER),
        ({"list": ["a"]}, {"list": ["a", "b"]}, Likeness.OTHER),
        ({"refused": "by the store"}, {}, Likeness.UNTOLD),
        ({"mixed": [1, "a", None]}, {"mixed": ["1", "a", None]}, Likeness.UNTOLD),
    ],
)
def test_traits_are_compared_as_far_as_can_be_told(
    kept: dict[str, Any], replica: dict[str, Any], likeness: Likeness
) -> None:
    assert compared(kept, replica) is likeness
