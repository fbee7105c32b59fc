"""A person is erased while everything that could bring them back happens."""

import time
from collections.abc import Iterable

import httpx
import psycopg

from cdp_devstack.parts import Part
from faults.scenarios.inputs import event
from faults.scenarios.log import set_back_all
from faults.stack import FLOW, until
from faults.trial import Trial, fault

_KEY = ("demo-write-key", "")
_ASKED = {
    "ClickHouse events": "SELECT count() AS n FROM events WHERE user_id = '$user' OR position(properties, '$user') > 0",
    "ClickHouse profiles": "SELECT count() AS n FROM profiles FINAL WHERE has(identifiers['user_id'], '$user')",
}


@fault(
    "F23", "a person erased while processes die, clients send again and positions are set back", *FLOW, "analytics-api"
)
def erased_in_flight(trial: Trial) -> None:
    stack, user = trial.stack, f"canary-{trial.proof.prefix}"
    ref = f"/profiles/user_id:{user}"
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
    set_back_all(stack)
    trial.proof.verdict()  # returns when the stores are at rest
    left = {}
    end = time.monotonic() + 30
    while time.monotonic() < end and (left := _hits(trial, user)):
        time.sleep(1)
    trial.demand(not left, f"I12: of an erased person there is left: {left}")


def _say(trial: Trial, user: str, numbers: Iterable[int]) -> None:
    """Not in the journal: that says of everything that it must be stored."""
    said = [event(trial, "Erased", n, userId=user, anonymousId=f"{user}-device") for n in numbers]
    batch = [{**one, "messageId": f"erased-{one['messageId']}", "properties": {"who": user}} for one in said]
    body = {"batch": batch}
    until(
        "the gateway takes them",
        lambda: httpx.post(f"{trial.stack.gateway}/v1/batch", json=body, auth=_KEY, timeout=20).status_code == 200,
        30,
    )


def _hits(trial: Trial, user: str) -> dict[str, int]:
    """Where the canary still is: table -> rows."""
    found = {name: trial.proof.rows(sql.replace("$user", user))[0]["n"] for name, sql in _ASKED.items()}
    with psycopg.connect(trial.stack.urls[Part.POSTGRES]) as connection:
        row = connection.execute("SELECT count(*) FROM identity.nodes WHERE value = %s", [user]).fetchone()
        found["Postgres nodes"] = row[0] if row else 0
    return {where: int(number) for where, number in found.items() if int(number)}
