"""A golden record as clients see it."""

from math import inf, nan
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from cdp_identity.search import ProfileSearch
from cdp_identity.shapes import ProfileBody, mask, profile_of
from cdp_schemas.profiles import ProfileUpdated, Revenue

from .received import NOON


def record(**fields: object) -> ProfileUpdated:
    return ProfileUpdated("demo", UUID(int=1), 1, NOON, **fields)


def test_money_is_in_the_major_unit_of_its_currency() -> None:
    revenue = Revenue("USD", 13009, 3, 100, NOON, NOON, {"USD": 13009, "JPY": 500})
    computed = profile_of(record(revenue=revenue), []).computed
    assert (computed.ltv, computed.aov, computed.purchase_count) == (130.09, 43.36, 3)
    assert computed.ltv_by_currency == {"USD": 130.09, "JPY": 500.0}


def test_well_known_traits_stand_by_name_and_all_others_are_custom() -> None:
    traits = {"firstName": "Ada", "plan": "pro", "address": {"country": "GB", "city": "London"}, "tags": "vip"}
    shown = profile_of(record(traits=traits, identifiers={"email": ["a@b.io"]}), []).model_dump(by_alias=True)
    assert shown["attributes"] == {
        "email": "a@b.io",
        "phone": None,
        "firstName": "Ada",
        "country": "GB",
        "city": "London",
        "tags": ["vip"],
        "customFields": {"plan": "pro", "address": {"country": "GB", "city": "London"}},
    }


def test_identifiers_of_kinds_that_may_be_many_are_lists() -> None:
    identifiers = {"email": ["a@b.io", "c@d.io"], "user_id": ["ada"], "anonymous_id": ["x"], "crm": ["9"]}
    assert profile_of(record(identifiers=identifiers), []).external_ids == {
        "email": "a@b.io",
        "emails": ["a@b.io", "c@d.io"],
        "userId": "ada",
        "anonymousIds": ["x"],
        "crm": ["9"],
    }


def test_who_may_not_see_persons_sees_masks() -> None:
    traits = {"firstName": "Ada", "plan": "pro", "birthday": "1815-12-10", "country": "GB"}
    identifiers = {"email": ["ada@b.io"], "device_id": ["d1", "d2"]}
    text = profile_of(record(traits=traits, identifiers=identifiers), [], sees_pii=False).model_dump_json(by_alias=True)
    assert "Ada" not in text and "ada@" not in text and "1815" not in text and '"d1"' not in text
    assert '"GB"' in text and '"pro"' in text
    assert (mask("ada@b.io"), mask("+14155552671")) == ("a***@b.io", "+***")


def test_traits_of_a_body_are_collected_from_its_three_places() -> None:
    body = ProfileBody.model_validate(
        {"firstName": "Ada", "attributes": {"lastName": None, "customFields": {"a": 1}}, "customFields": {"b": 2}}
    )
    assert body.traits() == {"firstName": "Ada", "lastName": None, "a": 1, "b": 2}


def nested(levels: int) -> list[Any]:
    """Lists in lists."""
    return [nested(levels - 1)] if levels > 1 else []


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, inf, nan, nested(31)], ids=str)
def test_what_no_store_keeps_as_it_is_is_refused_with_its_place(value: Any) -> None:
    for body, said, place in [
        (ProfileBody, {"customFields": {"n": value}}, ("customFields",)),
        (ProfileBody, {"attributes": {"customFields": {"n": {"m": value}}}}, ("attributes",)),
        (ProfileSearch, {"attributes": {"n": value}}, ("attributes",)),
        (ProfileSearch, {"attributes.n": value}, ()),
    ]:
        with pytest.raises(ValidationError, match="must not") as refused:
            body.model_validate(said)
        assert [fault["loc"] for fault in refused.value.errors()] == [place]


def test_what_every_store_keeps_is_taken() -> None:
    said = {"most": 2**64 - 1, "least": -(2**63), "huge": 1e300, "deep": nested(30), "yes": True, "none": None}
    assert ProfileBody.model_validate({"customFields": said}).traits() == said
    assert ProfileSearch.model_validate({"attributes": said}).traits() == said


@pytest.mark.parametrize(
    "body",
    [
        {"customFields": {"": 1}},
        {"attributes": {"x" * 257: 1}},
        {"customFields": {f"trait{number}": 1 for number in range(501)}},
        {"consent": {"": True}},
        {"consent": {"x" * 129: True}},
    ],
    ids=["nameless trait", "long name", "many traits", "nameless purpose", "long purpose"],
)
def test_what_an_event_would_lose_on_its_way_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ProfileBody.model_validate(body)
