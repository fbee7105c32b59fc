"""Segments and audiences under faults: processes killed at every boundary, a platform slow, throttling or wrong."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from cdp_activation.standin.app import ACCESS_TOKEN
from cdp_devstack.parts import Part
from cdp_eventlog.brokers import Brokers
from cdp_schemas.segments import MembershipChanged, read_memberships
from cdp_schemas.topics import MEMBERSHIPS_CHANGED
from cdp_verify.stores import LogReads
from faults.proxy import Trouble
from faults.scenarios.crashes import points
from faults.stack import ALL, HTTP, PLATFORMS, NotInTime, Stack, until
from faults.trial import Trial, fault

_SETTLE_SECONDS = 90.0
_PAUSE, _THROTTLED = 3, 400  # seconds that the platform asks for, and what it answers then
_EVERYTHING = (*ALL, PLATFORMS)
SPENT: dict[str, Any] = {"field": "computed.ltv", "operator": ">", "value": 1}  # a rule: who spent money


@dataclass(frozen=True)
class Audience:
    """A segment of the people of one load, delivered to the stand-in."""

    stack: Stack
    prefix: str
    remote: str  # the audience's id at the platform
    segment: str
    audience: str

    def members(self, segment: str = "") -> set[str]:
        items = _all(self.stack, f"/segments/{segment or self.segment}/members")
        return {item["id"] if isinstance(item, dict) else item for item in items}

    def acknowledged(self) -> set[str]:
        items = _all(self.stack, f"/audiences/{self.audience}/deliveries")
        return {item["profileId"] for item in items if item["acknowledged"]}

    def there(self) -> set[str]:
        """Whom the platform has, by the ids that it was told."""
        return {row["EXTERN_ID"] for row in standin(self.stack, "GET", f"members?audience={self.remote}").json()}


def make_audience(trial: Trial, rules: dict[str, Any] | None = None) -> Audience:
    """Through the front door; without other rules everybody who looked at something and spent money is in it."""
    prefix, remote = trial.proof.prefix, _remote(trial.stack, trial.proof.prefix)
    segment = _segment(trial, prefix, rules)
    config = {"facebook": {"customAudienceId": remote, "adAccountId": "act_1"}}
    body = {"name": prefix, "segmentIds": [segment], "platforms": ["facebook"], "config": config}
    audience = made(trial.stack.api("POST", "/audiences", json=body))
    activate = {"platform": "facebook", "operation": "add"}
    made(trial.stack.api("POST", f"/audiences/{audience}/activate", json=activate))
    return Audience(trial.stack, prefix, remote, segment, audience)


def compare(trial: Trial, audience: Audience) -> None:
    """I8 and I9: what was kept up under faults equals what is computed anew now, and the platform has just that."""
    trial.stack.recover(_EVERYTHING)
    trial.proof.verdict()  # returns when the stores are at rest
    fresh = _segment(trial, f"{audience.prefix} anew")
    same = _eventually(lambda: audience.members() == audience.members(fresh) != set())
    kept, anew = audience.members(), audience.members(fresh)
    trial.demand(same, f"I8: {len(kept)} members were kept, {len(anew)} computed anew; {len(kept ^ anew)} differ")
    told = _eventually(lambda: audience.there() == audience.acknowledged() != set())
    there, acknowledged = audience.there(), audience.acknowledged()
    trial.demand(
        told,
        f"I9: the platform has {len(there)} people, {len(acknowledged)} are acknowledged; "
        f"{len(there ^ acknowledged)} differ",
    )
    trial.demand(acknowledged <= kept, f"I9: {len(acknowledged - kept)} acknowledged people are no members")
    changes = asyncio.run(memberships_told(trial.stack))
    for sentence in skipped(change for change in changes if change.segment_id == audience.segment):
        trial.demand(False, f"I8: {sentence}")
    trial.notes.append(f"{len(kept)} members, {len(there)} at the platform")


@fault("F3", "segmenter and activation killed at every boundary of an effect, the front door at random", *_EVERYTHING)
def kill_the_audience_at_every_point(trial: Trial) -> None:
    audience, trial.whole = make_audience(trial), True
    # new people all the time: without new members there is nothing to commit, publish or send
    with trial.load(people=3000):
        trial.sweep({service: points(service) for service in ("segmenter", "activation")}, latest=1)
        for _ in range(trial.effort.of(2)):
            trial.kill("analytics-api")
            time.sleep(trial.chance.uniform(0.5, 3))
    compare(trial, audience)


@fault("F12", "the platform hangs, and its connections are cut and swallowed", *_EVERYTHING)
def slow_platform(trial: Trial) -> None:
    audience, stack, trial.whole = make_audience(trial), trial.stack, True
    with trial.load(people=3000):
        _struck(audience, mode="hang", seconds=20)
        trial.felt("the platform is cut off", stack.proxies.cut(stack.standin))
        time.sleep(3)
        stack.standin.trouble = hole = Trouble(swallows=True)
        trial.felt("the platform answers nothing", hole)
        time.sleep(3)
        stack.proxies.heal(stack.standin)
        _struck(audience, mode="hang", seconds=2)
        trial.proof.grows(100)
    compare(trial, audience)


@fault("F13", "the platform answers 429, 500 and pages instead of JSON", *_EVERYTHING)
def refusing_platform(trial: Trial) -> None:
    audience, trial.whole = make_audience(trial), True
    with trial.load(people=3000):
        for trouble in ({"mode": "throttle", "retryAfter": _PAUSE}, {"mode": "error", "status": 500}, {"mode": "html"}):
            _struck(audience, times=2, **trouble)
    calls = standin(audience.stack, "GET", "calls?limit=1000&target=facebook").json()
    own = [call for call in calls if audience.remote in call["path"]]
    trial.demand(any(call["status"] == _THROTTLED for call in own), "no call that was told to wait is remembered")
    early = too_early(own, _PAUSE)
    trial.demand(early == 0, f"I9: {early} calls came within the pause that the platform had asked for")
    compare(trial, audience)


def too_early(calls: Sequence[Mapping[str, Any]], pause: float) -> int:
    """How many calls of one audience came before the pause was over that an earlier one was told."""
    throttled = [call["at"] for call in calls if call["status"] == _THROTTLED]
    return sum(any(at < call["at"] < at + pause for at in throttled) for call in calls)


async def memberships_told(stack: Stack) -> list[MembershipChanged]:
    """Every change of a membership that the log holds, in order for each."""
    log = LogReads(Brokers(stack.urls[Part.KAFKA]))
    messages = [read_memberships(record.value) async for record in log.records(MEMBERSHIPS_CHANGED) if record.value]
    return [change for message in messages for change in message.each()]


def skipped(told: Iterable[MembershipChanged]) -> list[str]:
    """Who was told of changes of one segment with some sequence numbers missing."""
    numbers = defaultdict[Any, set[int]](set)
    for change in told:
        numbers[change.profile_id].add(change.sequence)
    return [f"{who} was told {sorted(n)}" for who, n in numbers.items() if n != set(range(1, max(n) + 1))]


def _segment(trial: Trial, name: str, rules: dict[str, Any] | None = None) -> str:
    here = [{"property": "page", "operator": "=", "value": trial.proof.canary}]
    viewed = {"event": "Product Viewed", "filters": here, "count": {"min": 1}, "window": "P7D"}
    usual = {"operator": "AND", "conditions": [SPENT, viewed]}
    body = {"name": name, "type": "rule-based", "rules": rules or usual}
    return made(trial.stack.api("POST", "/segments", json=body))


def made(answer: httpx.Response) -> str:
    """The id of what was made."""
    assert answer.is_success, f"{answer.request.url}: {answer.status_code} {answer.text[:500]}"
    return str(answer.json()["data"].get("id", ""))


def _all(stack: Stack, path: str) -> list[Any]:
    """The items of every page."""
    found: list[Any] = []
    query: dict[str, Any] | None = {"limit": 1000}
    while query is not None:
        answer = stack.api("GET", path, params=query)
        assert answer.is_success, f"GET {path}: {answer.status_code} {answer.text[:500]}"
        page = answer.json()["data"]
        found += page["items"]
        query = {"limit": 1000, "cursor": page["nextCursor"]} if page.get("nextCursor") else None
    return found


def standin(stack: Stack, method: str, path: str, **options: Any) -> httpx.Response:
    """A question to the stand-in itself, past its proxy."""
    return HTTP.request(method, f"{stack.standin_url}/_standin/{path}", timeout=10, **options)


def _remote(stack: Stack, name: str) -> str:
    """A new audience at the platform, by the platform's own API."""
    url = f"{stack.standin_url}/v1/act_1/customaudiences"
    headers = {"authorization": f"Bearer {ACCESS_TOKEN}"}
    answer = HTTP.post(url, json={"name": name, "subtype": "CUSTOM"}, headers=headers, timeout=10)
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


def _struck(audience: Audience, times: int = 1, **trouble: Any) -> None:
    """The next calls of this audience fare so; returns when they have come."""
    stack, asked = audience.stack, {"target": "facebook", "path": audience.remote, "times": times, **trouble}
    assert standin(stack, "POST", "trouble", json=asked).is_success
    until(f"calls meet {trouble}", lambda: audience.remote not in standin(stack, "GET", "trouble").text, 60)


def _eventually(condition: Callable[[], bool]) -> bool:
    try:
        until("both agree", condition, _SETTLE_SECONDS)
    except NotInTime:
        return False
    return True
