"""People are erased while everything that could bring them back happens."""

import json
import signal
import time
from collections.abc import Iterable, Sequence

import psycopg

from cdp_devstack.parts import Part
from faults.ear import Ear
from faults.scenarios.inputs import event
from faults.scenarios.log import set_back_all
from faults.scenarios.tenants import deliver
from faults.stack import ALL, HTTP, Stack, until
from faults.tenants import DEMO
from faults.trial import Trial, fault

_KEY = ("demo-write-key", "")
_ASKED = {
    "ClickHouse events": "SELECT count() AS n FROM events WHERE user_id = '$user' OR position(properties, '$user') > 0",
    "ClickHouse profiles": "SELECT count() AS n FROM profiles FINAL WHERE has(identifiers['user_id'], '$user')",
}


# where a person's events are held while the person is erased: behind each of these lies another place to forget
_HELD = (
    ("resolver", "resolver.before-commit"),  # in the log
    ("resolver", "resolver.before-publish"),  # in Postgres, not told yet
    ("recorder", "recorder.after-intent"),  # read, promised to ClickHouse
    ("recorder", "recorder.after-insert"),  # in ClickHouse, not closed
    ("segmenter", "segmenter.after-commit"),  # in the outbox
    ("activation", "activation.before-send"),  # on the way to a destination
)


@fault("F23", "people erased wherever their events are, while processes die and clients send again", *ALL)
def erased_in_flight(trial: Trial) -> None:
    stack, trial.whole, ear = trial.stack, True, Ear()
    stack.callable.add(ear.address)
    try:
        for name in ("activation", "analytics-api"):
            stack.restart(name)
        rules = {"event": f"{trial.proof.prefix}-own Erased", "count": {"min": 1}, "timeWindow": "P7D"}
        deliver(trial, DEMO, f"http://{ear.address}/", rules)
        for service, point in _HELD[: trial.effort.of(len(_HELD))]:
            _erased_at(trial, service, point)
        _erased_under_load(trial)
        set_back_all(stack)
        stack.recover(ALL)
        trial.proof.verdict(whole=True)  # returns when everybody is told, and nobody listens after that
        until("no destination holds somebody erased", lambda: not held(ear.heard), 90)
        trial.notes.append(f"{len(trial.erased)} people erased, {len(ear.heard)} calls of destinations")
    finally:
        stack.callable.discard(ear.address)
        ear.close()
    left = {}
    end = time.monotonic() + 30
    while time.monotonic() < end and (left := {user: hits for user in trial.erased if (hits := _hits(trial, user))}):
        time.sleep(1)
    trial.demand(not left, f"I12: of erased people there is left: {left}")


def held(heard: Sequence[tuple[str, bytes]]) -> set[str]:
    """Whom a destination has after these calls."""
    inside: set[str] = set()
    for _, body in heard:
        said = json.loads(body)["data"]
        members = {one["profileId"] for one in said.get("members", ())}
        inside = inside | members if said.get("action") == "add" else inside - members
    return inside


def _erased_at(trial: Trial, service: str, point: str) -> None:
    """The only traffic is the person's, so it is the person's events that are held there."""
    stack, user = trial.stack, _somebody(trial)
    _say(trial, user, range(10))
    until("the person has a profile", lambda: stack.api("GET", _ref(user)).is_success, 60)
    stack.kill(service)
    stack.start(service, f"{point}:1:stop")
    trial.kills += 1
    _say(trial, user, range(10, 40))
    _say(trial, _somebody(trial), range(10))  # new members, for whom segments and destinations have work
    until(f"{service} stops at {point}", lambda: stack.is_stopped(service), 60)
    answer = stack.api("DELETE", _ref(user))
    trial.notes.append(f"{point}: DELETE got {answer.status_code}")
    if trial.chance.random() < 0.5:
        stack.signal(service, signal.SIGCONT)
    else:
        trial.kill(service)
    for one in trial.erased[-2:]:
        until("the person is erased", lambda user=one: _erased(stack, user), 90)  # type: ignore[misc]
    _say(trial, user, range(40))


def _erased(stack: Stack, user: str) -> bool:
    """Asked again until it is so: a DELETE that nobody could answer in time promises nothing."""
    if stack.api("GET", _ref(user)).status_code in (404, 410):
        return True
    stack.api("DELETE", _ref(user))
    return False


def _erased_under_load(trial: Trial) -> None:
    stack, user = trial.stack, _somebody(trial)
    ref = _ref(user)
    with trial.load():
        _say(trial, user, range(50))
        until("the person has a profile", lambda: stack.api("GET", ref).is_success, 60)
        _say(trial, user, range(50, 100))
        trial.kill("recorder")
        answer = stack.api("DELETE", ref)
        trial.demand(answer.is_success, f"DELETE {ref}: {answer.status_code} {answer.text[:200]}")
        trial.kill("resolver")
        until("the person is erased", lambda: stack.api("GET", ref).status_code in (404, 410), 90)
        _say(trial, user, range(100))
        trial.kill("recorder")


def _somebody(trial: Trial) -> str:
    """A new person, who will be erased."""
    trial.erased.append(f"canary-{trial.proof.prefix}-{len(trial.erased)}-")
    return trial.erased[-1]


def _ref(user: str) -> str:
    return f"/profiles/user_id:{user}"


def _say(trial: Trial, user: str, numbers: Iterable[int]) -> None:
    """Not in the journal: that says of everything that it must be stored."""
    said = [event(trial, "Erased", n, userId=user, anonymousId=f"{user}-device") for n in numbers]
    batch = [{**one, "messageId": f"erased-{user}{one['messageId']}", "properties": {"who": user}} for one in said]
    body = {"batch": batch}
    until(
        "the gateway takes them",
        lambda: HTTP.post(f"{trial.stack.gateway}/v1/batch", json=body, auth=_KEY, timeout=20).status_code == 200,
        30,
    )


def _hits(trial: Trial, user: str) -> dict[str, int]:
    """Where the canary still is: table -> rows."""
    found = {name: trial.proof.rows(sql.replace("$user", user))[0]["n"] for name, sql in _ASKED.items()}
    with psycopg.connect(trial.stack.urls[Part.POSTGRES]) as connection:
        row = connection.execute("SELECT count(*) FROM identity.nodes WHERE value = %s", [user]).fetchone()
        found["Postgres nodes"] = row[0] if row else 0
    return {where: int(number) for where, number in found.items() if int(number)}
