"""Rules that are edited, deleted and led in circles while they are evaluated, and many saved at once."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cdp_schemas.profiles import profile_ref
from cdp_schemas.segments import MembershipChanged
from faults.scenarios.destinations import made, memberships_told
from faults.scenarios.inputs import event
from faults.scenarios.tenants import delivering
from faults.stack import ALL, PLATFORMS, Stack, until
from faults.trial import Trial, fault

_PLANS = 4
_PEOPLE = 40
_AT_ONCE = 8


@fault(
    "F24", "rules edited, deleted and led in circles while they are evaluated, hundreds saved at once", *ALL, PLATFORMS
)
def rules_move(trial: Trial) -> None:
    trial.whole = True
    plans = _people_with_plans(trial)
    with delivering(trial), trial.load(), ThreadPoolExecutor(_AT_ONCE) as threads:
        doomed = _created(trial.stack, f"{trial.proof.prefix} doomed", _looked_at_something(trial))
        edited, versions = _edited(trial)
        made(trial.stack.api("DELETE", f"/segments/{doomed}"))
        _circles(trial, threads)
        _many(trial, threads)
        trial.kill("segmenter")
    trial.stack.need(*ALL)
    until("every segment is built", lambda: _building(trial.stack) == 0, 120)
    messages = asyncio.run(memberships_told(trial.stack))
    for sentence in contradictions([one for one in messages if one.segment_id == edited], versions, plans):
        trial.demand(False, f"I8: {sentence}")
    inside = {one.profile_id: one.change for one in messages if one.segment_id == doomed}
    left = [who for who, change in inside.items() if change == "entered"]
    trial.demand(not left, f"I8: {len(left)} people are still in a segment that was deleted")
    trial.notes.append(f"{len(versions)} versions, {len(inside)} people in what was deleted, {len(messages)} changes")


def contradictions(messages: Sequence[MembershipChanged], versions: dict[int, str], plans: dict[str, str]) -> list[str]:
    """What was told of a segment whose version ``v`` holds the people of the plan ``versions[v]``, and is not so.

    One difference per version: a person moves once at most, and only as this version says.
    """
    found, seen = [], set()
    for one in messages:
        who = profile_ref(one.profile_id)
        inside = plans.get(who) == versions.get(one.segment_version)
        if inside is not (one.change == "entered"):
            found.append(f"{who} {one.change} by version {one.segment_version}, which says otherwise")
        if (one.segment_version, who, one.sequence) not in seen:
            seen.add((one.segment_version, who, one.sequence))
            if sum(1 for version, other, _ in seen if (version, other) == (one.segment_version, who)) > 1:
                found.append(f"{who} moved twice by version {one.segment_version}")
    return found


def _people_with_plans(trial: Trial) -> dict[str, str]:
    """Profile -> its plan, which stays."""
    prefix = trial.proof.prefix
    people = {f"{prefix}-own-planned-{n}": _plan(trial, n % _PLANS) for n in range(_PEOPLE)}
    calls = []
    for number, (user, plan) in enumerate(people.items()):
        call = event(trial, "Planned", number, type="identify", userId=user, traits={"plan": plan})
        del call["event"], call["properties"], call["anonymousId"]
        calls.append(call)
    trial.demand(trial.proof.offer(calls) == 200, "the people were not taken")
    found: dict[str, str] = {}

    def known() -> bool:
        for user, plan in people.items():
            answer = trial.stack.api("GET", f"/profiles/user_id:{user}")
            if not answer.is_success:
                return False
            found[answer.json()["data"]["id"]] = plan
        return True

    until("everybody has a profile", known, 60)
    return found


def _plan(trial: Trial, number: int) -> str:
    return f"{trial.proof.prefix} plan {number}"


def _has_plan(trial: Trial, number: int) -> dict[str, Any]:
    return {"field": "attributes.plan", "operator": "=", "value": _plan(trial, number)}


def _looked_at_something(trial: Trial) -> dict[str, Any]:
    here = [{"property": "page", "operator": "=", "value": trial.proof.canary}]
    return {"event": "Product Viewed", "filters": here, "count": {"min": 1}, "timeWindow": "P7D"}


def _created(stack: Stack, name: str, rules: dict[str, Any]) -> str:
    return made(stack.api("POST", "/segments", json={"name": name, "rules": rules}))


def _put(stack: Stack, segment: str, name: str, rules: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    answer = stack.api("PUT", f"/segments/{segment}", json={"name": name, "rules": rules})
    return answer.status_code, answer.json()


def _edited(trial: Trial) -> tuple[str, dict[int, str]]:
    """A segment that gets other rules again and again, some of them before the last ones were evaluated."""
    name = f"{trial.proof.prefix} edited"
    segment, versions = _created(trial.stack, name, _has_plan(trial, 0)), {1: _plan(trial, 0)}
    for number in range(1, trial.effort.of(24) + 1):
        time.sleep(trial.chance.choice((0.0, 0.02, 0.3, 1.0)))
        status, said = _put(trial.stack, segment, name, _has_plan(trial, number % _PLANS))
        trial.demand(status == 200, f"an edit got {status}: {said}")
        if status == 200:
            versions[said["data"]["version"]] = _plan(trial, number % _PLANS)
        if number % 8 == 0:
            trial.kill("segmenter")
    return segment, versions


def _circles(trial: Trial, threads: ThreadPoolExecutor) -> None:
    """Two segments are told at the same moment to refer to one another: one of them must hear that it cannot."""
    stack, prefix = trial.stack, trial.proof.prefix
    names = (f"{prefix} hen", f"{prefix} egg")
    ids = [_created(stack, name, _has_plan(trial, 0)) for name in names]
    for _ in range(trial.effort.of(5)):
        pairs = zip(ids, names, reversed(ids), strict=True)
        waiting = [threads.submit(_put, stack, one, name, {"segment": other}) for one, name, other in pairs]
        answers = [one.result()[0] for one in waiting]
        trial.demand(sorted(answers) == [200, 422], f"a circle of two segments got {answers}")
        for one, name in zip(ids, names, strict=True):
            _put(stack, one, name, _has_plan(trial, 1))


def _many(trial: Trial, threads: ThreadPoolExecutor) -> None:
    """All of them distinct, so that nothing can be shared but what the rules have in common."""
    stack, prefix, number = trial.stack, trial.proof.prefix, trial.effort.of(300)
    ltv = {"field": "computed.ltv", "operator": ">"}
    rules = [
        {"operator": "AND", "conditions": [_has_plan(trial, n % _PLANS), {**ltv, "value": n}]} for n in range(number)
    ]
    began = time.monotonic()
    for one in [threads.submit(_created, stack, f"{prefix} {n}", rule) for n, rule in enumerate(rules)]:
        one.result()
    trial.notes.append(f"{number} segments saved in {time.monotonic() - began:.1f} s")


def _building(stack: Stack) -> int:
    found, cursor = 0, ""
    while True:
        page = stack.api("GET", "/segments", params={"limit": 1000, **({"cursor": cursor} if cursor else {})})
        data = page.json()["data"]
        found += [one["status"] for one in data["items"]].count("building")
        cursor = data["nextCursor"]
        if not cursor:
            return found
