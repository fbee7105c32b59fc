"""How many satisfy a search, told from the ids of a page."""

from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cdp_identity.search import TOTAL_BOUND, ProfileSearch, estimate, estimate_beyond


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(20_000, 60_000), st.integers(51, 1001), st.integers(0, 10_000))
def test_it_lies_near_the_truth_on_every_page(seed: int, count: int, rank: int, passed: int) -> None:
    chance = Random(seed)
    ids = sorted(UUID(int=chance.getrandbits(128)) for _ in range(count))
    told = estimate(rank, ids[passed + rank - 1], ids[passed - 1] if passed else None)
    # where the rank-th smallest lies has this standard deviation; the second digit is worth 5 % at most
    assert abs(count / told - 1) <= 5 / rank**0.5 + 0.06


def test_few_ids_say_nothing_but_that_there_are_more_than_the_bound() -> None:
    assert estimate_beyond(3, UUID(int=2**90), None) == estimate_beyond(0, None, None) == TOTAL_BOUND


def test_a_search_names_no_more_traits_than_postgres_takes_parameters_for() -> None:
    most = {f"a.{number}": 1 for number in range(60)}
    ProfileSearch.model_validate({"attributes": most, **{f"attributes.b{number}": 1 for number in range(40)}})
    with pytest.raises(ValidationError, match="at most 100"):
        ProfileSearch.model_validate({"attributes": most, **{f"attributes.b{number}": 1 for number in range(41)}})
