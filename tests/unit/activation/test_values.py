"""Small pure parts: settings, fingerprints, keys, buckets, batches, reports."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_activation import results
from cdp_activation.batches import batches
from cdp_activation.bucket import TokenBucket
from cdp_activation.destinations.destination import Config
from cdp_activation.destinations.registry import DESTINATIONS, checked, destination_type, settings_of
from cdp_activation.keys import Keyring
from cdp_activation.ledger import Claimed, ConnectionKey
from cdp_activation.outcome import RetryLater
from cdp_activation.plan import Entry
from cdp_activation.profile import fingerprint, profile_of
from cdp_activation.retry import Progress, RetryPolicy, next_step

NOW = datetime(2026, 11, 20, tzinfo=UTC)
KEY = ConnectionKey("ws", "audience-1", "destination-1")
RING = Keyring("a secret", "US")


def claimed(**values) -> Claimed:
    entry = Entry(values.pop("profile_id", UUID(int=1)), 1, True, False)
    return Claimed(entry, values.pop("progress", Progress()), "membership", uuid4(), NOW, NOW, **values)


def test_the_registry_names_types_as_they_name_themselves() -> None:
    assert {name: destination.entry.type for name, destination in DESTINATIONS.items()} == {n: n for n in DESTINATIONS}
    assert destination_type("facebook") == "facebook_custom_audiences" and destination_type("google") is None


def test_defaults_are_valid_settings_of_their_own() -> None:
    for name in DESTINATIONS:
        defaults, _ = checked(settings_of(name), {"url": "https://a.example"} if name == "webhook" else {})
        assert checked(settings_of(name), defaults) == (defaults, [])


def test_a_default_is_never_shared() -> None:
    first, _ = checked(settings_of("facebook_custom_audiences"), {})
    first["fields"].clear()
    assert checked(settings_of("facebook_custom_audiences"), {})[0]["fields"]


@pytest.mark.parametrize("value", ["a\nb", "a\x00b", "x" * 5000, 5, None.__class__])
def test_text_that_could_break_a_header_is_refused(value) -> None:
    fields = DESTINATIONS["facebook_custom_audiences"].entry.credentials
    assert [fault.path for fault in checked(fields, {"accessToken": value})[1]] == ["accessToken"]


@pytest.mark.parametrize("value", ["EAAB ", " EAAB", "EAAB\u00a0", "EAAB\u200b1", "EAAB\u00fc", "  "])
def test_a_secret_that_no_header_takes_is_refused_without_being_repeated(value: str) -> None:
    for name, secret in (("facebook_custom_audiences", "accessToken"), ("webhook", "secret")):
        (fault,) = checked(DESTINATIONS[name].entry.credentials, {secret: value})[1]
        assert fault.path == secret and "ASCII, without a blank" in fault.message and "EAAB" not in fault.message


def test_a_fingerprint_ignores_order_and_what_nobody_is_told() -> None:
    one = profile_of(
        UUID(int=1), 1, {"email": ["b", "a"], "x": []}, {"firstName": "A", "visits": 3}, {"tracking": True}
    )
    two = profile_of(UUID(int=1), 9, {"email": ["a", "b"]}, {"visits": 4, "firstName": "A"}, {"tracking": True})
    assert fingerprint(one) == fingerprint(two)
    for other in (
        profile_of(UUID(int=1), 1, {"email": ["a"]}, {"firstName": "A"}, {"tracking": True}),
        profile_of(UUID(int=1), 1, {"email": ["a", "b"]}, {"firstName": "B"}, {"tracking": True}),
        profile_of(UUID(int=1), 1, {"email": ["a", "b"]}, {"firstName": "A"}, {"tracking": False}),
    ):
        assert fingerprint(other) != fingerprint(one)


def test_a_suppressed_value_matches_however_it_is_written() -> None:
    assert RING.identifier("email", " ADA@Example.com") == RING.identifier("email", "ada@example.com")
    assert RING.identifier("phone", "(415) 555-0132") == RING.identifier("phone", "+14155550132")
    assert RING.identifier("email", "a@b.example") != RING.identifier("user_id", "a@b.example")
    assert RING.identifier("email", "a@b.example") != Keyring("another", "US").identifier("email", "a@b.example")


@given(st.floats(0.5, 100), st.lists(st.floats(0, 2), min_size=5, max_size=60))
def test_a_bucket_never_gives_more_than_its_rate(rate: float, gaps: list[float]) -> None:
    bucket, now, used = TokenBucket.full(rate, 0.0), 0.0, []
    for gap in gaps:
        now += gap
        now += bucket.take(now)
        used.append(now)
    burst = max(1.0, rate)
    for start, begun in enumerate(used):
        for n, ended in enumerate(used[start:], 1):
            assert n <= burst + (ended - begun) * rate + 1 + 1e-6


@given(st.lists(st.tuples(st.floats(0, 2), st.sampled_from([1.0, 5.0, 100.0])), min_size=1, max_size=60))
def test_a_changed_rate_counts_from_then_on(steps: list[tuple[float, float]]) -> None:
    bucket, now, allowed = TokenBucket.full(1.0, 0.0), 0.0, 1.0
    for gap, rate in steps:
        now += gap
        allowed = min(allowed + gap * bucket.per_second, max(1.0, bucket.per_second))
        bucket.change(rate, now)
        allowed = min(allowed, max(1.0, rate)) - 1.0
        wait = bucket.take(now)
        now, allowed = now + wait, allowed + wait * rate
        assert wait <= 1.0 / rate + 1e-6 and allowed >= -1e-6
    assert not bucket.is_full(now) and bucket.is_full(now + 1.0 + 1.0 / bucket.per_second)


def test_forms_with_other_cells_go_in_other_calls_and_each_row_keeps_its_index() -> None:
    rows = [claimed(profile_id=UUID(int=n)) for n in range(7)]
    members = [(row.entry, {"A": str(n)} if n % 2 else {"A": str(n), "B": ""}) for n, row in enumerate(rows)]
    made = batches(KEY, "remove", members, {row.entry.profile_id: row for row in rows}, 3)
    assert sorted(len(batch.rows) for batch in made) == [1, 3, 3]
    assert all([row.index for row in batch.rows] == list(range(len(batch.rows))) for batch in made)
    assert all(len({tuple(row.cells) for row in batch.rows}) == 1 for batch in made)
    assert all(row.cells["A"] == str(row.profile_id.int) for batch in made for row in batch.rows)


def test_only_the_first_of_many_retries_is_reported() -> None:
    policy = RetryPolicy()
    first, later = claimed(), claimed(progress=Progress(3, NOW))
    told = []
    for row in (first, later):
        step = next_step(RetryLater("500"), row.progress, NOW, 0.5, policy)
        told.append(results.report(KEY, results.failed(row, (), None, step), "add", NOW))
    assert told[0] is not None and told[0].outcome == "retrying" and told[0].error == "500" and told[1] is None


def test_waiting_for_a_profile_grows_and_is_bounded() -> None:
    row = claimed()
    pauses = [
        (results.waiting_for_profile(row, None, NOW + timedelta(seconds=age)).at or NOW) - NOW - timedelta(seconds=age)
        for age in (0, 10, 100, 100_000)
    ]
    assert pauses == [timedelta(seconds=s) for s in (0.5, 1, 10, 60)]


def test_the_main_identifier_is_the_trait_however_it_is_written() -> None:
    identifiers = {
        "email": ["aaa@old.example", "ada@new.example"],
        "phone": ["+14155550132", "+442079460018"],
        "user_id": ["1", "2"],
    }
    traits = {"email": "Ada@New.example", "phone": "+44 20 7946 0018"}
    profile = profile_of(UUID(int=1), 1, identifiers, traits, {})
    hook = Config({"fields": ["email", "phone", "userId"]}, {})
    told = DESTINATIONS["webhook"].cells(profile, hook)
    assert told is not None
    assert (told["email"], told["phone"], told["userId"]) == ("ada@new.example", "+442079460018", "1")
    fields, _ = checked(settings_of("facebook_custom_audiences"), {})
    hashes = DESTINATIONS["facebook_custom_audiences"].cells(profile, Config(fields, {}))
    assert hashes is not None
    assert hashes["EMAIL"] == sha256(b"ada@new.example").hexdigest()
    assert hashes["PHONE"] == sha256(b"442079460018").hexdigest()
    gone = profile_of(UUID(int=1), 1, identifiers, {"email": "another@example.com"}, {})
    assert gone.first("email") == "aaa@old.example"


def test_a_delivery_tells_how_many_attempts_it_took() -> None:
    for before, attempts in ((Progress(), 1), (Progress(3, NOW), 4)):
        told = results.report(KEY, results.delivered(claimed(progress=before), [{"A": "1"}], None, None), "add", NOW)
        assert told is not None and told.attempts == attempts
