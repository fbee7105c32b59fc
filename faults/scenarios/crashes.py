"""Processes that die or stand still: at every boundary of an effect, at random, and as zombies."""

import signal
import time
from contextlib import suppress

import httpx

from cdp_runtime.faultpoints import POINTS
from faults.stack import FLOW, NotInTime, Stack, until
from faults.trial import Trial, fault

# what tells that a process has been given partitions and works
_WORK = {"resolver": "cdp_resolver_batch_seconds_count", "recorder": "cdp_recorder_flush_seconds_count"}
_REFUSED_SECONDS = 5.0  # within which a zombie that goes on comes to the fence
_LEAST_PROGRESS = 0.3  # of what is accepted meanwhile is stored while consumers come and go


def points(service: str) -> list[str]:
    """The declared fault points of one service."""
    return [point for point in POINTS if point.startswith(f"{service}.")]


@fault("F1", "gateway killed between request, log and answer", *FLOW)
def kill_the_gateway(trial: Trial) -> None:
    with trial.load():
        for point in points("gateway") * trial.effort.of(2):
            trial.stack.kill("ingest")
            trial.stack.start("ingest", f"{point}:{trial.chance.randint(1, 20)}:kill")
            is_there = trial.stack.dies("ingest", 60) and trial.stack.came_to("ingest", point)
            trial.demand(is_there, f"the gateway did not come to {point}")
            trial.kill("ingest")
            trial.stack.need("ingest")
        for _ in range(trial.effort.of(3)):
            time.sleep(trial.chance.uniform(0, 1.0))
            trial.kill("ingest")
            trial.stack.need("ingest")


@fault("F2", "resolver and recorder killed at every boundary of an effect", *FLOW)
def kill_the_stream_at_every_point(trial: Trial) -> None:
    with trial.load():
        trial.sweep({service: points(service) for service in ("resolver", "recorder")})


@fault("F15", "rebalances: a second resolver and recorder come and go", *FLOW)
def rebalances(trial: Trial) -> None:
    with trial.load():
        accepted, stored, shared = trial.proof.accepted, _stored(trial), 0
        for _ in range(trial.effort.of(6)):
            for name in ("resolver~2", "recorder~2"):
                trial.stack.start(name)
            time.sleep(trial.chance.uniform(1.0, 5.0))
            for name in ("resolver~2", "recorder~2"):
                shared += _has_worked(trial.stack, name)
                trial.stack.signal(name, signal.SIGTERM)
            for name in ("resolver~2", "recorder~2"):
                until(f"{name} ended", lambda one=name: trial.stack.dies(one, 0), 50)  # type: ignore[misc]
        accepted, stored = trial.proof.accepted - accepted, _stored(trial) - stored
    trial.notes.append(f"{accepted} events accepted, {stored} stored meanwhile; a second one had work {shared} times")
    trial.demand(accepted > 0, "nothing was accepted during the rebalances")
    trial.demand(shared > 0, "no second one was ever given work, so that nothing was taken from anybody")
    trial.demand(stored >= _LEAST_PROGRESS * accepted, f"I14: {stored} of {accepted} events stored during rebalances")


def _has_worked(stack: Stack, name: str) -> bool:
    """Whether partitions were taken from the first one for it."""
    try:
        return stack.metric(name, _WORK[name.partition("~")[0]]) > 0
    except httpx.HTTPError:
        return False  # it is not even up


def _stored(trial: Trial) -> int:
    return int(trial.proof.rows("SELECT count() AS n FROM events")[0]["n"])


@fault("F16", "zombies: stopped at a boundary for longer than the session, another takes over, then it goes on", *FLOW)
def zombies(trial: Trial) -> None:
    plans = [
        ("resolver", "resolver.before-publish"),
        ("recorder", "recorder.before-insert"),
        ("recorder", "recorder.before-close"),
    ]
    with trial.load():
        rejected = [_zombie(trial, service, point) for service, point in plans[: trial.effort.of(3)]]
    trial.notes.append(f"partitions that a zombie was refused: {rejected}")
    for (service, point), partitions in zip(plans, rejected, strict=False):
        trial.demand(partitions > 0, f"I10: {service}, stopped at {point}, was refused nothing")


def _zombie(trial: Trial, service: str, point: str) -> int:
    """Returns how many partitions it was refused when it went on."""
    stack = trial.stack
    stack.kill(service)
    stack.start(service, f"{point}:2:stop")
    until(f"{service} stops at {point}", lambda: stack.is_stopped(service), 60)
    trial.kills += 1
    heir = f"{service}~2"
    try:
        stack.need(heir)
        until(f"{heir} has taken over", lambda: stack.metric(heir, _WORK[service]) > 0, 60)
    finally:
        stack.signal(service, signal.SIGCONT)
    with suppress(NotInTime):
        until(f"{service} is refused", lambda: _refused(stack, service) > 0, _REFUSED_SECONDS)
    refused = _refused(stack, service)
    stack.kill(heir)
    return refused


def _refused(stack: Stack, service: str) -> int:
    return int(stack.metric(service, f"cdp_{service}_partitions_fenced_total"))
