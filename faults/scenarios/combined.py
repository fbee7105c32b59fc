"""A random schedule of three faults at a time."""

import time
from collections.abc import Callable

from cdp_devstack.parts import Part
from faults.proxy import Trouble
from faults.scenarios.stores import is_commit, is_insert
from faults.stack import FLOW, Stack
from faults.trial import Trial, fault

_SECONDS = 40


@fault("F27", "a random schedule of three faults at a time", *FLOW)
def everything(trial: Trial) -> None:
    stack = trial.stack
    faults: list[Callable[[], None]] = [
        lambda: trial.kill("resolver"),
        lambda: trial.kill("recorder"),
        lambda: trial.kill("ingest"),
        lambda: _trouble(stack, Part.POSTGRES, "resolver", Trouble(lose_reply_to=is_commit, times=2)),
        lambda: _trouble(stack, Part.CLICKHOUSE, "recorder", Trouble(lose_reply_to=is_insert, times=2)),
        lambda: _trouble(stack, Part.POSTGRES, "recorder", Trouble(latency_s=0.2)),
        lambda: _trouble(stack, Part.CLICKHOUSE, "recorder", Trouble(swallows=True)),
        lambda: _trouble(stack, Part.KAFKA, "", Trouble(latency_s=0.05)),
        lambda: stack.proxies.cut(stack.kafka),
    ]
    with trial.load():
        end = time.monotonic() + _SECONDS * trial.effort.steps
        while time.monotonic() < end:
            for break_it in trial.chance.sample(faults, 3):
                break_it()
                time.sleep(trial.chance.uniform(0, 1.5))
            time.sleep(trial.chance.uniform(1, 4))
            stack.calm()
            stack.need(*FLOW)


def _trouble(stack: Stack, part: Part, service: str, trouble: Trouble) -> None:
    stack.proxy(part, service).trouble = trouble
