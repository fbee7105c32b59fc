"""What the projection reads of a message is what its sender wrote, and the fingerprint is that of the column store."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from cdp_activation.profile import fingerprint, profile_of
from cdp_activation.projection import ProfileFact
from cdp_schemas.codec import Codec, InvalidMessage, encode
from cdp_schemas.profiles import ProfileUpdated
from cdp_schemas.segments import MembershipChanged, MembershipsChanged, SegmentChange, read_memberships

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ADA = UUID(int=7)
IDENTIFIERS = {"user_id": ["u-1"], "email": ["b@example.com", "a@example.com"]}
TRAITS = {"firstName": "Ada", "address": {"city": "London"}, "visits": 3}


def fact_of(**fields: Any) -> ProfileFact:
    return Codec(ProfileFact).decode(encode(ProfileUpdated("demo", ADA, 4, NOW, **fields)))


@pytest.mark.parametrize("received", [None, NOW])
def test_a_membership_keeps_what_its_row_needs(received: datetime | None) -> None:
    changes = [SegmentChange("vip", 2, "exited", 6), SegmentChange("unused", 1, "entered", 1)]
    message = MembershipsChanged("demo", ADA, NOW, changes, "clock", received)
    of_vip = read_memberships(encode(message)).each({"vip"})
    assert list(of_vip) == [MembershipChanged("demo", "vip", 2, ADA, "exited", 6, NOW, "clock", received)]


def test_a_message_of_the_release_before_is_read_as_one_of_one_change() -> None:
    message = MembershipChanged("demo", "vip", 2, ADA, "entered", 5, NOW, "clock", NOW)
    assert list(read_memberships(encode(message)).each()) == [message]


@pytest.mark.parametrize("write", [MembershipChanged.alone, lambda message: message])
def test_a_profile_id_that_is_none_is_refused_before_it_can_stop_a_batch(write: Any) -> None:
    message = MembershipChanged("demo", "vip", 2, ADA, "entered", 1, NOW)
    with pytest.raises(InvalidMessage):
        read_memberships(encode(write(message)).replace(str(ADA).encode(), b"nobody"))


def test_the_fingerprint_is_that_of_the_profile_in_the_column_store() -> None:
    stored = profile_of(ADA, 9, IDENTIFIERS, TRAITS, {"ads": True})
    told = fact_of(identifiers=IDENTIFIERS, traits=TRAITS, consent={"ads": True})
    assert told.fingerprint() == fingerprint(stored)
    assert fact_of(identifiers=IDENTIFIERS, traits=TRAITS, consent={"ads": False}).fingerprint() != fingerprint(stored)
    assert fact_of().fingerprint() == fingerprint(profile_of(ADA, 1, {}, {}, {}))


def test_identifiers_that_cannot_be_read_count_as_a_change() -> None:
    wire = encode(ProfileUpdated("demo", ADA, 4, NOW, identifiers=IDENTIFIERS)).replace(b'["u-1"]', b'{"u-1":1}')
    assert Codec(ProfileFact).decode(wire).fingerprint() == b""


@pytest.mark.parametrize(
    ("fields", "deleted", "merged", "refused"),
    [
        ({}, False, False, False),
        ({"consent": {"ads": True, "email": False}}, False, False, True),
        ({"deleted": True}, True, False, False),
        ({"deleted": True, "merged_into": UUID(int=8)}, True, True, False),
    ],
)
def test_who_is_gone_or_must_be_asked_again(fields: Any, deleted: bool, merged: bool, refused: bool) -> None:
    fact = fact_of(**fields)
    assert (fact.workspace_id, fact.profile_id, fact.version) == ("demo", ADA, 4)
    assert (fact.deleted, fact.merged, fact.refused) == (deleted, merged, refused)
