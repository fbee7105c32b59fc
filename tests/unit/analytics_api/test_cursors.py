"""Cursors come back as they went; anything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_analytics_api.cursors import BadCursor, Place, read_cursor, write_cursor
from cdp_analytics_api.periods import LATEST

LATEST_MS = int(LATEST.timestamp() * 1000)
# the offsets of a log that was lost are moved below zero, as the playbook in docs/operations.md says
places = st.builds(Place, st.integers(0, LATEST_MS), st.integers(0, 2**31 - 1), st.integers(-(2**63) + 1, 2**63 - 1))


@given(places)
def test_a_cursor_comes_back(place: Place) -> None:
    assert read_cursor(write_cursor(place), per_second=1000) == place


@given(st.text(max_size=60))
def test_other_texts_are_refused_without_harm(text: str) -> None:
    try:
        assert write_cursor(read_cursor(text, per_second=1000)).rstrip("=")
    except BadCursor:
        pass


@pytest.mark.parametrize("text", ["", "!!!!", "MQ", "MS4y", "ey" * 50])
def test_what_we_did_not_write_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        read_cursor(text, per_second=1000)
