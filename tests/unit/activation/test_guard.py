"""When removals look like an accident."""

import pytest

from cdp_activation.guard import AudienceCounts, GuardPolicy, alarm


@pytest.mark.parametrize(
    ("there", "leaving", "left", "wanted", "alarmed"),
    [
        (100, 30, 0, 70, False),
        (100, 31, 0, 69, True),
        (80, 11, 20, 69, True),
        (99, 60, 0, 39, False),
        (99, 99, 0, 0, True),
        (10, 10, 0, 0, True),
        (9, 9, 0, 0, False),
        (1000, 0, 900, 100, False),
    ],
)
def test_the_guard_asks_when_it_should(there: int, leaving: int, left: int, wanted: int, alarmed: bool) -> None:
    assert (alarm(AudienceCounts(there, leaving, left, wanted), GuardPolicy()) is not None) == alarmed
