"""Processes that die or stand still: at every boundary of an effect, at random, and as zombies."""

import signal
import time

from cdp_runtime.faultpoints import POINTS
from faults.stack import FLOW, until
from faults.trial import Trial, fault

SESSION_SECONDS = 10.0  # after which the broker gives a silent consumer's partitions away


def points(service: str) -> list[str]:
    """The declared fault points of one service."""
    return [point for point in POINTS if point.startswith(f"{service}.")]


@fault("F1", "gateway killed between request, log and answer", *FLOW)
def kill_the_gateway(trial: Trial) -> None:
    with trial.load():
        for point in points("gateway") * trial.effort.of(2):
            trial.stack.kill("ingest")
            trial.stack.start("ingest", f"{point}:{trial.chance.randint(1, 20)}:kill")
            trial.demand(trial.stack.dies("ingest", 60), f"the gateway did not come to {point}")
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
        before = trial.proof.accepted
        for _ in range(trial.effort.of(6)):
            for name in ("resolver~2", "recorder~2"):
                trial.stack.start(name)
            time.sleep(trial.chance.uniform(3.0, 8.0))
            for name in ("resolver~2", "recorder~2"):
                trial.stack.signal(name, signal.SIGTERM)
            until("the second ones ended", lambda: trial.stack.dies("resolver~2", 45), 50)
            trial.stack.dies("recorder~2", 45)
        trial.demand(trial.proof.accepted > before, "nothing was accepted during the rebalances")


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
    trial.demand(sum(rejected) > 0, "I10: no zombie came to the fence, so nothing was shown")


def _zombie(trial: Trial, service: str, point: str) -> int:
    """Returns how many partitions it was refused when it went on."""
    stack = trial.stack
    stack.kill(service)
    stack.start(service, f"{point}:2:stop")
    until(f"{service} stops at {point}", lambda: stack.is_stopped(service), 60)
    trial.kills += 1
    stack.start(f"{service}~2")
    time.sleep(SESSION_SECONDS + 4)
    stack.signal(service, signal.SIGCONT)
    time.sleep(3)
    refused = int(stack.metric(service, f"cdp_{service}_partitions_fenced_total"))
    stack.kill(f"{service}~2")
    return refused
