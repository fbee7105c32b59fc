"""A profile's row against what it stands for: a sequence for each segment that the profile ever was in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_runtime.postgres_arrays import array, integers, texts
from cdp_segmenter.adapters.held import Held, columns
from cdp_segmenter.ports import OutOfStep

STEPS = st.lists(st.integers(1, 5))


def walked(steps: list[int]) -> tuple[Held, dict[int, tuple[int, int]]]:
    """The row after these segments were entered or left one after the other, and segment -> sequence and moment."""
    row, known = Held(), dict[int, tuple[int, int]]()
    for moment, number in enumerate(steps):
        known[number] = (known.get(number, (0, 0))[0] + 1, moment)
        row.put(number, *known[number])
    return row, known


@given(STEPS)
def test_a_row_holds_the_last_change_of_each_segment(steps: list[int]) -> None:
    row, known = walked(steps)
    rows = zip(row.segments, row.sequences, row.changed_ms, strict=True)
    assert {number: (sequence, at) for number, sequence, at in rows} == known
    assert row.sequence(99) == 0


@given(STEPS)
def test_segments_stay_in_the_order_of_first_entries_so_that_coming_back_changes_no_index(steps: list[int]) -> None:
    assert walked(steps)[0].segments == list(dict.fromkeys(steps))


@given(STEPS, st.sampled_from([-1, 0, 1, 2, 3]))
def test_only_the_change_that_follows_the_last_is_taken(steps: list[int], ahead: int) -> None:
    row, known = walked(steps)
    last = known.get(1, (0, 0))[0]
    if ahead == 1:
        row.put(1, last + 1, 0)
        assert row.sequence(1) == last + 1
    else:
        with pytest.raises(OutOfStep):
            row.put(1, last + ahead, 0)
        assert row.sequence(1) == last


@given(STEPS, st.frozensets(st.integers(1, 5)))
def test_segments_that_are_gone_leave_nothing(steps: list[int], still: frozenset[int]) -> None:
    row, known = walked(steps)
    row.forget_others(still)
    kept = {number: said for number, said in known.items() if number in still}
    rows = zip(row.segments, row.sequences, row.changed_ms, strict=True)
    assert {number: (sequence, at) for number, sequence, at in rows} == kept


def test_rows_become_a_column_each_whose_lists_are_written_as_text() -> None:
    assert columns([Held(3, [7, 8], [1, 2], [10, 20]), Held(1)]) == [
        array([3, 1], integers),
        array(["{7,8}", "{}"], texts),
        array(["{1,2}", "{}"], texts),
        array(["{10,20}", "{}"], texts),
    ]
