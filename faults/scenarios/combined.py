"""A random schedule of three faults at a time, of everything that can break, for as long as is asked."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from cdp_devstack.parts import Part
from faults.proxy import Trouble
from faults.scenarios.log import is_produce
from faults.scenarios.stores import is_commit, is_insert
from faults.scenarios.tenants import delivering
from faults.stack import ALL, PLATFORMS, Stack
from faults.trial import Trial, fault

_SECONDS = 40.0
_STOPPED_SECONDS = 8.0  # longer than a session: whoever stood still so long is a zombie


@fault("F27", "a random schedule of three faults at a time", *ALL, PLATFORMS)
def everything(trial: Trial) -> None:
    stack, trial.whole = trial.stack, True
    faults = [*_deaths(trial), *_troubles(stack)]
    with delivering(trial), trial.load():
        end = time.monotonic() + (trial.effort.seconds or _SECONDS) * trial.effort.steps
        while time.monotonic() < end:
            for break_it in trial.chance.sample(faults, 3):
                break_it()
                time.sleep(trial.chance.uniform(0, 1.5))
            time.sleep(trial.chance.uniform(1, 4))
            stack.recover(ALL)


def _deaths(trial: Trial) -> list[Callable[[], None]]:
    stack = trial.stack
    return [
        *(lambda name=name: trial.kill(name) for name in ALL),
        *(lambda name=name: _stand_still(trial, name) for name in ("resolver", "recorder", "segmenter")),
        *(lambda part=part: _kill_part(trial, part) for part in Part),
        lambda: _second(stack, "resolver~2"),
        lambda: _second(stack, "recorder~2"),
    ]


def _troubles(stack: Stack) -> list[Callable[[], None]]:
    return [
        lambda: _trouble(stack, Part.POSTGRES, "resolver", Trouble(lose_reply_to=is_commit, times=2)),
        lambda: _trouble(stack, Part.POSTGRES, "segmenter", Trouble(lose_reply_to=is_commit, times=2)),
        lambda: _trouble(stack, Part.CLICKHOUSE, "recorder", Trouble(lose_reply_to=is_insert, times=2)),
        lambda: _trouble(stack, Part.POSTGRES, "recorder", Trouble(latency_s=0.2)),
        lambda: _trouble(stack, Part.CLICKHOUSE, "recorder", Trouble(swallows=True)),
        lambda: _trouble(stack, Part.CLICKHOUSE, "segmenter", Trouble(cut_after=("down", 2000), times=3)),
        lambda: _trouble(stack, Part.KAFKA, "", Trouble(latency_s=0.05)),
        lambda: _trouble(stack, Part.KAFKA, "", Trouble(lose_reply_to=is_produce, times=2)),
        lambda: stack.proxies.cut(stack.kafka),
        lambda: stack.proxies.cut(stack.proxy(Part.REDIS, "analytics-api")),
        lambda: stack.proxies.cut(stack.standin),
    ]


def _stand_still(trial: Trial, name: str) -> None:
    """Somebody else may take its partitions over; then it goes on as if nothing had been."""
    if not trial.stack.is_running(name):
        return
    trial.stack.signal(name, signal.SIGSTOP)
    trial.kills += 1
    time.sleep(_STOPPED_SECONDS)
    trial.stack.signal(name, signal.SIGCONT)


def _kill_part(trial: Trial, part: Part) -> None:
    """It is up again when the schedule's next round begins."""
    with suppress(ProcessLookupError):
        os.kill(trial.stack.parts.pid(part), signal.SIGKILL)
        trial.kills += 1


def _second(stack: Stack, name: str) -> None:
    """Comes, or goes."""
    if stack.is_running(name):
        stack.end(name)
    else:
        stack.start(name)


def _trouble(stack: Stack, part: Part, service: str, trouble: Trouble) -> None:
    stack.proxy(part, service).trouble = trouble
