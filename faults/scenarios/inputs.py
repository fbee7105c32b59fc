"""Input that hurts: poison, one hot person, endless names, huge bodies, clocks that are years off."""

import gzip
from datetime import UTC, datetime, timedelta
from typing import Any

from cdp_schemas.codec import encode
from faults.stack import FLOW, HTTP
from faults.trial import Trial, fault

_KEY = ("demo-write-key", "")
# bytes of one event each, or of a whole body; neighbours in the same batch must be stored
_POISON = (
    b'{"type":"track","event":"a\\u0000b"}',
    b'{"type":"track","event":"deep","properties":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
    b'{"type":"track","event":"big","properties":{"n":1e999}}',
    b'{"type":"track","event":"lone \\ud800"}',
    b'{"type":"track","event":"digits","properties":{"n":' + b"9" * 300 + b"}}",
    b'{"type":"track","event":"twice","event":"other","userId":"p1","userId":"p2"}',
    b'{"type":"track","event":"keys","properties":{' + b",".join(b'"k%d":1' % n for n in range(20_000)) + b"}}",
    b'{"type":7,"event":[],"userId":{}}',
    b'{"type":"track","event":"bytes \xff\xfe"}',
    b'{"type":"track","event":"Order Completed","userId":"p3","properties":{"revenue":"NaN","order_id":[1]}}',
    b"null",
    b"[]",
)
_LARGEST_EVENT = 30_000
_BODIES = (b"", b"{", b"[]", b'{"batch":[]}', b'{"batch":{}}', b"\xff" * 100, gzip.compress(b"0" * 50_000_000))


def event(trial: Trial, name: str, number: int, **fields: Any) -> dict[str, Any]:
    """A track call of the scenario's own."""
    prefix = f"{trial.proof.prefix}-own"
    made = {
        "messageId": f"{prefix}-{name}-{number}",
        "anonymousId": f"{prefix}-device-{number % 20}",
        "type": "track",
        "event": f"{prefix} {name}",
        "properties": {"n": number},
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    return {**made, **fields}


@fault("F18", "a burst of large bodies", *FLOW)
def large_bodies(trial: Trial) -> None:
    with trial.load():
        for number in range(trial.effort.of(40)):
            filler = "x" * trial.chance.choice((20_000, 200_000, 1_000_000))
            body = {"batch": [event(trial, "Large", number, properties={"filler": filler})]}
            answer = HTTP.post(f"{trial.stack.gateway}/v1/batch", json=body, auth=_KEY, timeout=20)
            trial.demand(answer.status_code in (200, 400, 413, 429, 503), f"a large body got {answer.status_code}")
            # a larger one is a dead letter, told in the same 200
            trial.proof.sent(body["batch"], answer.status_code, faulty=len(filler) > _LARGEST_EVENT)
        trial.proof.grows(50)
    trial.demand(trial.stack.memory("ingest") < 500_000_000, f"the gateway holds {trial.stack.memory('ingest')} bytes")


@fault("F19", "clients whose clocks are hours and years off", *FLOW)
def skewed_clocks(trial: Trial) -> None:
    now = datetime.now(UTC)
    skews = (timedelta(hours=1), -timedelta(hours=1), timedelta(days=3650), -timedelta(days=3650))
    with trial.load():
        for number, skew in enumerate(skews * trial.effort.of(5)):
            at = (now + skew).isoformat(timespec="milliseconds")
            status = trial.proof.offer([event(trial, "Skewed", number, timestamp=at)])
            trial.demand(status == 200, f"a clock off by {skew} got {status}")


@fault("F20", "poison in batches with good neighbours, and bodies that are none", *FLOW)
def poison(trial: Trial) -> None:
    with trial.load():
        for number, bad in enumerate(_POISON):
            good = [event(trial, "Neighbour", 2 * number + side) for side in range(2)]
            body = b'{"batch":[' + b",".join((encode(good[0]), bad, encode(good[1]))) + b"]}"
            answer = HTTP.post(f"{trial.stack.gateway}/v1/batch", content=body, auth=_KEY, timeout=20)
            trial.proof.sent(good, answer.status_code)
            trial.demand(answer.status_code < 500, f"poison {number} got {answer.status_code}")
            trial.notes.append(f"poison {number}: {answer.status_code}")
        for number, body in enumerate(_BODIES):
            headers = {"content-encoding": "gzip"} if body[:2] == b"\x1f\x8b" else {}
            answer = HTTP.post(f"{trial.stack.gateway}/v1/batch", content=body, headers=headers, auth=_KEY, timeout=20)
            trial.demand(answer.status_code < 500, f"body {number} got {answer.status_code}")
        trial.proof.grows(50)


@fault("F21", "all traffic on two people, who log in on device after device", *FLOW)
def hot_people(trial: Trial) -> None:
    with trial.load(people=2):
        for number in range(trial.effort.of(100)):
            prefix = f"{trial.proof.prefix}-own"
            fields = {"type": "identify", "userId": f"{prefix}-hot", "anonymousId": f"{prefix}-device-{number}"}
            identify = event(trial, "Hot", number, **fields)
            del identify["event"], identify["properties"]
            status = trial.proof.offer([identify])
            trial.demand(status == 200, f"login {number} of the hot person got {status}")
        trial.proof.grows(200)


@fault("F22", "thousands of event names, property keys and devices", *FLOW)
def endless_names(trial: Trial) -> None:
    with trial.load():
        for start in range(0, trial.effort.of(3000), 100):
            status = trial.proof.offer([_new_names(trial, number) for number in range(start, start + 100)])
            trial.demand(status == 200, f"a hundred new names got {status}")


def _new_names(trial: Trial, number: int) -> dict[str, Any]:
    names = {"event": f"{trial.proof.prefix}-own name {number}", "properties": {f"key{number}": number}}
    return event(trial, "Names", number, anonymousId=f"{trial.proof.prefix}-own-device-{number}", **names)
