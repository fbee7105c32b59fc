"""Two workspaces that ask, send and deliver while everything breaks: nothing of one is in what the other gets."""

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import httpx

from cdp_activation.standin.app import WEBHOOK_SECRET
from cdp_devstack.parts import Part
from faults.beside import beside
from faults.ear import Ear
from faults.scenarios.destinations import made, standin
from faults.scenarios.inputs import event
from faults.scenarios.stores import is_commit, is_insert
from faults.stack import ALL, HTTP, PLATFORMS, Stack, until
from faults.tenants import DEMO, NEIGHBOUR, TENANTS, Tenant
from faults.trial import Trial, fault
from faults.troubles import Single, at, lost, met

_SECONDS = 30
_SUPPRESSED = (201, 409)  # by this call, or already
_SILENCE_AFTER_S = 5.0


@fault("F25", "two workspaces ask, send and deliver while processes die and parts are cut", *ALL)
def strangers(trial: Trial) -> None:
    stack, trial.whole = trial.stack, True
    ear = Ear()
    try:
        stack.callable.add(ear.address)
        for name in ("activation", "analytics-api"):
            stack.restart(name)
        for tenant in TENANTS:
            deliver(trial, tenant, f"http://{ear.address}/{tenant.workspace}")
        with trial.load(), _asking(trial) as questions:
            _break_everything(trial)
        stack.recover(ALL)
        until("both are delivered to", lambda: {path for path, _ in ear.heard} == _paths(), 90)
        trial.proof.verdict(whole=True)  # returns when everybody is told, and nobody listens after that
        _listen(trial, ear)
        trial.notes.append(f"{questions()} questions answered, {len(ear.heard)} calls of destinations")
    finally:
        stack.callable.discard(ear.address)
        ear.close()


def deliver(
    trial: Trial, tenant: Tenant, url: str, rules: dict[str, Any] | None = None, secret: str = ""
) -> tuple[str, str]:
    """The people of these rules, else of the load's first shop, told to an address; the ids of segment and audience."""
    stack, name = trial.stack, f"{trial.proof.prefix} {tenant.workspace} {url}"
    here = [{"property": "page", "operator": "=", "value": trial.proof.canary_of(tenant)}]
    rules = rules or {"event": "Product Viewed", "filters": here, "count": {"min": 1}, "timeWindow": "P7D"}
    segment = made(stack.api("POST", "/segments", tenant, json={"name": name, "rules": rules}))
    destination = webhook(stack, tenant, name, url, secret or secret_of(tenant))
    body = {"name": name, "segmentIds": [segment], "connections": [{"destinationId": destination}]}
    audience = made(stack.api("POST", "/audiences", tenant, json=body))
    activation = {"destinationId": destination, "operation": "add"}
    made(stack.api("POST", f"/audiences/{audience}/activate", tenant, json=activation))
    return segment, audience


@contextmanager
def delivering(trial: Trial) -> Iterator[None]:
    """People who come and go, told to the stand-in's webhook, whose members the proof compares one by one.

    One is there before the block and leaves after it: of a destination that has nothing to do, nothing would be shown.
    One is suppressed before they could be told, and one while they are there, whatever is broken by then: of a list
    with nobody on it nothing would be shown either.
    """
    stack = trial.stack
    # whose plan is that one, for the moment: each identify of the load tells one of three
    rules = {"field": "attributes.plan", "operator": "=", "value": f"{trial.proof.canary}-0"}
    _, audience = deliver(trial, DEMO, f"{stack.platforms_url}/webhook", rules, WEBHOOK_SECRET)

    def held() -> set[str]:
        members = standin(stack, "GET", f"webhook-members?audience={audience}").json()
        return {member["profileId"] for member in members}

    until("somebody is suppressed", lambda: _is_suppressed(trial, "unwanted"), 30)
    for who in ("unwanted", "mover", "silenced"):
        _moves(trial, who, 0)
    until("the stand-in has its members", lambda: held() >= {_profile(trial, "mover"), _profile(trial, "silenced")}, 90)
    first = held()
    with _silencing(trial, "silenced"):
        yield
    stack.recover((*ALL, PLATFORMS))
    until("who is silenced is on the list", lambda: _is_suppressed(trial, "silenced"), 30)
    _moves(trial, "mover", 1)
    until("who has left is gone from the stand-in", lambda: first.isdisjoint(held()), 90)
    there = held()
    told = [who for who in ("unwanted", "silenced") if _profile(trial, who) in there]
    trial.demand(not told, f"I9: {' and '.join(told)} is suppressed, and the stand-in has them")
    trial.notes.append(f"{len(there)} members at the stand-in")


@contextmanager
def _silencing(trial: Trial, who: str) -> Iterator[None]:
    """Somebody is suppressed while the block runs, as soon as the front door takes it."""

    def silence(over: threading.Event) -> None:
        over.wait(_SILENCE_AFTER_S)
        while not over.is_set():
            with suppress(httpx.HTTPError):
                if _is_suppressed(trial, who):
                    return
            over.wait(0.2)

    with beside(silence):
        yield


def _is_suppressed(trial: Trial, who: str) -> bool:
    body = {"kind": "user_id", "value": _user(trial, who)}
    return trial.stack.api("POST", "/suppressions", json=body).status_code in _SUPPRESSED


def _profile(trial: Trial, who: str) -> str:
    """Their profile's id; none before there is one."""
    answer = trial.stack.api("GET", f"/profiles/user_id:{_user(trial, who)}")
    return str(answer.json()["data"]["id"]) if answer.is_success else ""


def _user(trial: Trial, who: str) -> str:
    return f"{trial.proof.prefix}-own-{who}"


def _moves(trial: Trial, who: str, plan: int) -> None:
    traits = {"plan": f"{trial.proof.canary}-{plan}"}
    call = event(trial, f"Moves-{who}", plan, type="identify", userId=_user(trial, who), traits=traits)
    del call["event"], call["properties"], call["anonymousId"]
    trial.demand(trial.proof.offer([call]) == 200, "whoever comes and goes was not taken")


def webhook(stack: Stack, tenant: Tenant, name: str, url: str, secret: str) -> str:
    """A destination that tells who its members are, signed with a secret that is found in no log."""
    settings = {"url": url, "fields": ["userId", "email"], "consentWhenUnknown": "allow"}
    body = {"name": name, "type": "webhook", "settings": settings, "credentials": {"secret": secret}}
    return made(stack.api("POST", "/destinations", tenant, json=body))


def secret_of(tenant: Tenant) -> str:
    return "whsec_" + base64.b64encode(f"canary-secret-of-{tenant.workspace}-0123456789".encode()).decode()


def _paths() -> set[str]:
    return {f"/{tenant.workspace}" for tenant in TENANTS}


def _other(tenant: Tenant) -> Tenant:
    return NEIGHBOUR if tenant is DEMO else DEMO


@contextmanager
def _asking(trial: Trial) -> Iterator[Callable[[], int]]:
    """Both ask all the time, whatever is broken: answers and errors are looked through alike."""
    paths = _questions(trial.stack)
    counts = {tenant.workspace: 0 for tenant in TENANTS}

    def ask(tenant: Tenant, over: threading.Event) -> None:
        foreign = trial.proof.canary_of(_other(tenant))
        while not over.is_set():
            for path in paths:
                with suppress(httpx.HTTPError):
                    answer = trial.stack.api("GET", path, tenant)
                    counts[tenant.workspace] += 1
                    said = answer.text + str(answer.headers)
                    trial.demand(foreign not in said, f"I11: GET {path} told {tenant.workspace} {foreign}")
                over.wait(0.05)

    with beside(*(partial(ask, tenant) for tenant in TENANTS)):
        yield lambda: sum(counts.values())


def _questions(stack: Stack) -> list[str]:
    """Every path that can be asked without an id and whose answer ends."""
    document = HTTP.get(f"http://127.0.0.1:{stack.ports['api']}/openapi.json", timeout=15).json()
    asked = [path for path, item in document["paths"].items() if "get" in item and "{" not in path]
    return [path.removeprefix("/api/cdp") for path in asked if "stream" not in path]


def _break_everything(trial: Trial) -> None:
    stack = trial.stack
    door = stack.proxy(Part.POSTGRES, "analytics-api")
    resolver, recorder = stack.proxy(Part.POSTGRES, "resolver"), stack.proxy(Part.CLICKHOUSE, "recorder")
    troubles = [
        Single("the front door's commits lose their replies", at(door, lost(is_commit))),
        Single("Redis is cut off", lambda: stack.proxies.cut(stack.proxy(Part.REDIS, "analytics-api"))),
        Single("the resolver's commits lose their replies", at(resolver, lost(is_commit))),
        Single("inserts lose their replies", at(recorder, lost(is_insert))),
        Single("the broker is cut off", lambda: stack.proxies.cut(stack.kafka)),
    ]
    deaths = [lambda name=name: trial.kill(name) for name in ALL]
    faults: list[Callable[[], None]] = [*deaths, lambda: stack.proxies.reset(door), *troubles]
    end = time.monotonic() + _SECONDS * trial.effort.steps
    while time.monotonic() < end:
        for break_it in trial.chance.sample(faults, 3):
            break_it()
            time.sleep(trial.chance.uniform(0, 1.0))
        time.sleep(trial.chance.uniform(0.5, 2))
        stack.calm()
        stack.need(*ALL)
    met(trial, troubles, ALL)


def _listen(trial: Trial, ear: Ear) -> None:
    for tenant in TENANTS:
        own, foreign = trial.proof.canary_of(tenant).encode(), trial.proof.canary_of(_other(tenant)).encode()
        bodies = [body for path, body in ear.heard if path == f"/{tenant.workspace}"]
        strays = sum(foreign in body for body in bodies)
        trial.demand(not strays, f"I11: {strays} calls to {tenant.workspace}'s destination hold texts of the other")
        trial.demand(
            any(own in body for body in bodies), f"no call to {tenant.workspace}'s destination names its people"
        )
