"""Webhooks: a body that never changes between attempts, a signature that others verify."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from standardwebhooks import Webhook as Verifier

from cdp_activation.destinations.destination import Batch, Config, HttpResponse, Row
from cdp_activation.destinations.webhook import Webhook
from cdp_activation.outcome import (
    Delivered,
    Misconfigured,
    RejectedBatch,
    RejectedRow,
    RetryLater,
    Throttled,
    Unauthorized,
)
from cdp_activation.profile import Profile

NOW = datetime.now(UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONFIG = Config({"url": "https://a.example/hook", "fields": ["userId", "email"]}, {"secret": SECRET})
HOOK = Webhook()


def batch(*sequences: int) -> Batch:
    rows = [
        Row(n, UUID(int=n + 1), s, {"profileId": f"p{n}", "userId": "", "email": "a@b.example"})
        for n, s in enumerate(sequences)
    ]
    return Batch("ws", "audience-1", "add", rows, NOW)


def test_the_signature_verifies_and_the_secret_stays_here() -> None:
    request = HOOK.build(batch(1), CONFIG, datetime.now(UTC))  # verifiers refuse what is five minutes old
    body = Verifier(SECRET).verify(request.body, dict(request.headers))
    assert body["type"] == "audience.members_added" and body["data"]["action"] == "add"
    assert body["data"]["members"] == [{"profileId": "p0", "email": "a@b.example", "sequence": 1}]
    assert SECRET.removeprefix("whsec_") not in str(request)


def test_an_attempt_an_hour_later_has_the_same_id_and_body() -> None:
    first, second = (HOOK.build(batch(1, 2), CONFIG, NOW + timedelta(hours=h)) for h in (0, 1))
    assert first.body == second.body and first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]


def test_another_change_of_a_member_is_another_message() -> None:
    assert (
        HOOK.build(batch(1), CONFIG, NOW).headers["webhook-id"]
        != HOOK.build(batch(3), CONFIG, NOW).headers["webhook-id"]
    )


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (200, {}, Delivered),
        (204, {}, Delivered),
        (301, {}, Misconfigured),
        (400, {}, RejectedBatch),
        (401, {}, Unauthorized),
        (404, {}, Misconfigured),
        (410, {}, Misconfigured),
        (413, {}, RejectedBatch),
        (429, {"retry-after": "7"}, Throttled),
        (500, {}, RetryLater),
        (503, {"retry-after": "7"}, Throttled),
    ],
)
def test_what_a_status_means(status: int, headers: dict[str, str], outcome: type) -> None:
    assert isinstance(HOOK.read(HttpResponse(status, headers, b""), batch(1), NOW).whole, outcome)


@pytest.mark.parametrize(
    ("said", "until"),
    [
        ("7", NOW + timedelta(seconds=7)),
        ("0", NOW),
        ("-5", NOW),
        ("1e99", NOW + timedelta(hours=24)),
        ("nonsense", NOW + timedelta(seconds=60)),
        ("Fri, 31 Dec 2999 23:59:59 GMT", NOW + timedelta(hours=24)),
        ("Fri, 31 Dec 1999 23:59:59 GMT", NOW),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_bounded(said: str, until: datetime) -> None:
    whole = HOOK.read(HttpResponse(429, {"retry-after": said}, b""), batch(1), NOW).whole
    assert isinstance(whole, Throttled) and whole.until == until


def test_a_receiver_may_refuse_single_members() -> None:
    body = json.dumps({"rejected": [{"profileId": "p1", "reason": "unknown"}, {"profileId": "nobody"}, 7]}).encode()
    answer = HOOK.read(HttpResponse(200, {}, body), batch(1, 1, 1), NOW)
    assert answer.of(1) == RejectedRow("unknown") and answer.of(0) == Delivered() and len(answer.rows) == 1


def test_only_the_chosen_fields_are_told() -> None:
    profile = Profile(
        UUID(int=5), 1, {"email": ("ADA@b.example",), "user_id": ("7",)}, {"city": "London", "email": "x"}
    )
    assert HOOK.cells(profile, CONFIG) == {
        "profileId": f"profile-{UUID(int=5).hex}",
        "userId": "7",
        "email": "ada@b.example",
    }
