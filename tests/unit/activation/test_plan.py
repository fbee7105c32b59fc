"""Desired x sent x gates -> what to do: for every combination the destination ends as it should be."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from cdp_activation.plan import Entry, Gates, plan
from cdp_activation.profile import Profile

ID = UUID(int=1)


def cells(profile: Profile) -> dict[str, str] | None:
    email = profile.first("email")
    return {"EXTERN_ID": str(profile.profile_id), "EMAIL": email} if email else None


def values(form) -> list[str]:
    return [value for value in form.values() if value]


def profile(email: str = "a", *, version: int = 1, **consent: bool) -> Profile:
    return Profile(ID, version, {"email": [email] if email else []}, {}, consent)


def planned(entry: Entry, found: Profile | None, gates: Gates | None = None):
    gates = gates or Gates()
    return plan([entry], {ID: found} if found else {}, gates, cells, values)


def test_who_is_wanted_and_not_there_is_added() -> None:
    (addition,) = planned(Entry(ID, 1, True, False), profile()).additions
    assert addition.cells == {"EXTERN_ID": str(ID), "EMAIL": "a"}


def test_who_is_there_as_they_are_is_left_alone() -> None:
    (settled,) = planned(Entry(ID, 1, True, True, [cells(profile())]), profile()).settled
    assert settled.present and settled.reason is None


def test_who_may_be_there_unconfirmed_is_sent_again() -> None:
    assert planned(Entry(ID, 1, True, False, [cells(profile())]), profile()).additions


def test_another_address_is_removed_before_the_new_one_comes() -> None:
    (removal,) = planned(Entry(ID, 1, True, True, [cells(profile("old"))]), profile("new")).removals
    assert removal.cells == [cells(profile("old"))] and removal.then == cells(profile("new"))


def test_a_removal_needs_neither_profile_nor_consent() -> None:
    gates = Gates(("tracking",), suppressed=frozenset({ID}))
    (removal,) = planned(Entry(ID, 2, False, True, [cells(profile())]), None, gates).removals
    assert removal.then is None


def test_consent_refused_is_a_removal_and_consent_unknown_is_a_refusal() -> None:
    gates = Gates(("tracking", "sms"))
    for consent in ({}, {"tracking": True}, {"tracking": True, "sms": False}):
        made = planned(Entry(ID, 1, True, True, [cells(profile())]), profile(**consent), gates)
        assert made.removals[0].reason == "no_consent" and made.held == {"no_consent": 1}
    assert planned(Entry(ID, 1, True, False), profile(tracking=True, sms=True), gates).additions
    assert planned(Entry(ID, 1, True, False), profile(), Gates(("x",), unknown_is_granted=True)).additions


def test_the_suppression_list_is_asked_before_everything_else() -> None:
    made = planned(Entry(ID, 1, True, False), None, Gates(suppressed=frozenset({ID})))
    assert made.settled[0].reason == "suppressed"


def test_nobody_is_sent_from_an_older_version() -> None:
    made = planned(Entry(ID, 1, True, False, min_version=5), profile(version=4))
    assert made.waiting and not made.additions
    assert planned(Entry(ID, 1, True, False), None).waiting


def test_who_has_no_identifier_is_unmatched() -> None:
    assert planned(Entry(ID, 1, True, False), profile("")).settled[0].reason == "unmatched"


forms = st.lists(st.sampled_from("abc"), unique=True, max_size=3).map(lambda names: [cells(profile(n)) for n in names])


@given(st.booleans(), st.booleans(), forms, st.sampled_from(["", "a", "b"]), st.booleans(), st.booleans())
def test_following_the_plan_always_ends_right(desired, acknowledged, sent, email, consents, suppressed) -> None:
    """Plays the plan against a set that may hold anything that was sent, and asks for the next plan."""
    there = {form["EMAIL"] for form in sent}
    found = profile(email, tracking=consents)
    gates = Gates(("tracking",), suppressed=frozenset({ID} if suppressed else ()))
    made = planned(Entry(ID, 1, desired, acknowledged and bool(sent), sent), found, gates)
    assert len(made.removals) + len(made.additions) + len(made.settled) + len(made.waiting) == 1
    for removal in made.removals:
        there -= {form["EMAIL"] for form in removal.cells}
        there |= {removal.then["EMAIL"]} if removal.then is not None else set()
    for addition in made.additions:
        there.add(addition.cells["EMAIL"])
    wanted = desired and consents and not suppressed and bool(email)
    assert there == ({email} if wanted else set())
