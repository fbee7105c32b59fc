"""Meta: what is sent, and what its answers mean, by their code."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from cdp_activation.destinations.destination import Batch, Config, HttpResponse, Row, Session
from cdp_activation.destinations.facebook_custom_audiences import FacebookCustomAudiences
from cdp_activation.destinations.registry import checked, settings_of
from cdp_activation.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    RejectedBatch,
    RejectedRow,
    RetryLater,
    Throttled,
    Unauthorized,
)
from cdp_activation.profile import profile_of

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
META = FacebookCustomAudiences()
SETTINGS, _ = checked(settings_of("facebook_custom_audiences"), {})
CONFIG = Config(SETTINGS, {"accessToken": "token"}, {"customAudienceId": "77"})


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def batch(operation="add", session: Session | None = None) -> Batch:
    rows = [Row(n, UUID(int=n + 1), 1, {"EXTERN_ID": f"p{n}", "EMAIL": sha(str(n)), "PHONE": ""}) for n in range(3)]
    return Batch("ws", "audience-1", operation, rows, NOW, session)


def answered(status: int, body: object, **headers: str) -> HttpResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, {k.replace("_", "-"): v for k, v in headers.items()}, raw)


def read(response: HttpResponse) -> Outcome:
    return META.read(response, batch(), NOW).whole


def test_a_profile_becomes_hashed_cells_and_two_that_are_not() -> None:
    profile = profile_of(
        UUID(int=1),
        1,
        {"email": ["Ada@Example.com"], "phone": ["+44 20 7946 0018"], "idfa": ["ABC-1"]},
        {
            "firstName": "Ada",
            "lastName": "O'Lovelace",
            "address": {"city": "St. Albans", "postalCode": "AL1 1AA", "country": "UK"},
        },
        {},
    )
    cells = META.cells(profile, CONFIG)
    assert cells == {
        "EXTERN_ID": f"profile-{UUID(int=1).hex}",
        "EMAIL": sha("ada@example.com"),
        "PHONE": sha("442079460018"),
        "FN": sha("ada"),
        "LN": sha("olovelace"),
        "CT": sha("stalbans"),
        "ST": "",
        "ZIP": sha("al11aa"),
        "COUNTRY": sha("gb"),
    }
    with_madid = Config({**SETTINGS, "fields": ["EXTERN_ID", "MADID"]}, {}, {})
    assert META.cells(profile, with_madid) == {"EXTERN_ID": f"profile-{UUID(int=1).hex}", "MADID": "abc-1"}


def test_who_has_nothing_to_be_matched_by_is_not_sent() -> None:
    assert META.cells(profile_of(UUID(int=1), 1, {"user_id": ["7"]}, {"firstName": "Ada"}, {}), CONFIG) is None


@pytest.mark.parametrize(
    ("operation", "method", "edge"),
    [("add", "POST", "users"), ("remove", "DELETE", "users"), ("replace", "POST", "usersreplace")],
)
def test_each_operation_has_its_call(operation, method: str, edge: str) -> None:
    session = Session(5, 2, True, 9) if operation == "replace" else None
    request = META.build(batch(operation, session), CONFIG, NOW)
    assert (request.method, request.url) == (method, f"https://graph.facebook.com/v26.0/77/{edge}")
    body = json.loads(request.body)
    assert body["payload"]["schema"] == ["EXTERN_ID", "EMAIL", "PHONE"]
    assert body["payload"]["data"][0] == ["p0", sha("0"), ""]
    expected = {"session_id": 5, "batch_seq": 2, "last_batch_flag": True, "estimated_num_total": 9}
    assert body.get("session") == (expected if session else None)


def test_the_token_is_a_header_and_the_proof_is_made_of_it() -> None:
    config = Config(SETTINGS, {"accessToken": "token", "appSecret": "secret"}, {"customAudienceId": "77"})
    request = META.build(batch(), config, NOW)
    proof = hmac.new(b"secret", b"token", hashlib.sha256).hexdigest()
    assert request.headers["authorization"] == "Bearer token"
    assert request.url.endswith(f"?appsecret_proof={proof}") and "token" not in request.url


@pytest.mark.parametrize(
    ("status", "code", "subcode", "outcome"),
    [
        *[(400, code, None, Throttled) for code in (4, 17, 613, 80000, 80003, 80014)],
        *[(400, code, None, RetryLater) for code in (1, 2, 341, 368, 5000, 21009)],
        (500, 999_999, None, RetryLater),
        (400, 190, 463, Unauthorized),
        (403, 200, None, Unauthorized),
        (403, 294, None, Unauthorized),
        (400, 100, 33, Misconfigured),
        (400, 100, 1713230, Misconfigured),
        (400, 2655, None, Misconfigured),
        (400, 1487366, None, Misconfigured),
        (400, 100, None, RejectedBatch),
        (400, 105, None, RejectedBatch),
    ],
)
def test_the_code_decides_not_the_status(status: int, code: int, subcode: int | None, outcome: type) -> None:
    error = {"message": "said", "code": code, **({"error_subcode": subcode} if subcode else {})}
    found = read(answered(status, {"error": error}))
    assert isinstance(found, outcome) and "said" in found.reason


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"<html>log in</html>", RetryLater),
        (502, b"<html>bad gateway</html>", RetryLater),
        (403, b"<html>blocked</html>", RetryLater),
        (200, {"success": True}, RetryLater),
        (200, [1], RetryLater),
        (429, b"", Throttled),
        (413, b"<html>too large</html>", RejectedBatch),
    ],
)
def test_an_answer_that_is_not_meta_s_is_no_success(status: int, body: object, outcome: type) -> None:
    assert isinstance(read(answered(status, body)), outcome)


def test_how_long_to_wait_is_read_from_three_places() -> None:
    error = {"error": {"code": 80003, "message": "slow down"}}
    usage = json.dumps({"act_1": [{"call_count": 100, "estimated_time_to_regain_access": 13}]})
    waits = [
        read(answered(400, error, retry_after="5")),
        read(answered(400, error, x_business_use_case_usage=usage)),
        read(answered(400, error, x_business_use_case_usage="not json")),
    ]
    assert [wait.until - NOW for wait in waits if isinstance(wait, Throttled)] == [
        timedelta(seconds=5),
        timedelta(minutes=13),
        timedelta(seconds=60),
    ]
    good = META.read(
        answered(200, {"num_received": 3, "num_invalid_entries": 0}, x_business_use_case_usage=usage), batch(), NOW
    )
    assert good.whole == Delivered() and good.rest_until == NOW + timedelta(minutes=13)


def test_unreadable_rows_that_meta_names_are_refused_and_the_others_delivered() -> None:
    body = {"num_received": 3, "num_invalid_entries": 2, "invalid_entry_samples": {sha("1"): "bad hash"}}
    answer = META.read(answered(200, body), batch(), NOW)
    assert isinstance(answer.of(1), RejectedRow) and isinstance(answer.of(0), Delivered)
    assert isinstance(answer.whole, Delivered) and "1 of 3 rows" in answer.whole.warning


def test_the_probe_changes_nothing_and_reads_the_same_errors() -> None:
    request = META.probe(CONFIG, NOW)
    assert request.method == "GET" and request.url.startswith("https://graph.facebook.com/v26.0/me")
    assert META.read_probe(answered(200, {"id": "1"}), NOW).whole == Delivered()
    dead = META.read_probe(answered(400, {"error": {"code": 190, "message": "expired"}}), NOW).whole
    assert isinstance(dead, Unauthorized)


@pytest.mark.parametrize("nonsense", [1e300, 10**400, -5, "many", None, [1]])
def test_numbers_that_mean_nothing_do_not_keep_the_answer_from_being_read(nonsense: object) -> None:
    usage = json.dumps({"act_1": [{"estimated_time_to_regain_access": nonsense}]})
    body = {"num_received": 3, "num_invalid_entries": nonsense}
    answer = META.read(answered(200, body, x_business_use_case_usage=usage), batch(), NOW)
    assert isinstance(answer.whole, Delivered)
    assert answer.rest_until is None or answer.rest_until <= NOW + timedelta(hours=24)
    error = {"error": {"code": 100, "message": "a\x00b \ud800"}}
    whole = read(answered(400, error))
    assert isinstance(whole, RejectedBatch) and whole.reason == "Meta error 100: ab ?"
