"""A random schedule of three faults at a time, of everything that can break, for as long as is asked."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import httpx

from cdp_devstack.parts import Part
from faults.proxy import Trouble
from faults.scenarios.log import is_produce
from faults.scenarios.stores import is_commit, is_insert
from faults.scenarios.tenants import delivering
from faults.stack import ALL, PLATFORMS, Stack
from faults.trial import Trial, fault
from faults.troubles import Single, at, lost, met

_SECONDS = 40.0
_STOPPED_SECONDS = 8.0  # longer than a session: whoever stood still so long is a zombie


@fault("F27", "a random schedule of three faults at a time", *ALL, PLATFORMS)
def everything(trial: Trial) -> None:
    stack, trial.whole = trial.stack, True
    troubles = _troubles(stack)
    faults: list[Callable[[], None]] = [*_deaths(trial), *troubles]
    with delivering(trial), trial.load():
        end = time.monotonic() + (trial.effort.seconds or _SECONDS) * trial.effort.steps
        while time.monotonic() < end:
            for break_it in trial.chance.sample(faults, 3):
                break_it()
                time.sleep(trial.chance.uniform(0, 1.5))
            time.sleep(trial.chance.uniform(1, 4))
            stack.recover(ALL)
        again = met(trial, troubles, ALL)
    trial.notes.append(f"{sum(bool(one.made) for one in troubles)} single troubles, {again} of them once more, alone")


def _deaths(trial: Trial) -> list[Callable[[], None]]:
    stack = trial.stack
    return [
        *(lambda name=name: trial.kill(name) for name in ALL),
        *(lambda name=name: _stand_still(trial, name) for name in ("resolver", "recorder", "segmenter")),
        *(lambda part=part: _kill_part(trial, part) for part in Part),
        lambda: _second(stack, "resolver~2"),
        lambda: _second(stack, "recorder~2"),
    ]


def _troubles(stack: Stack) -> list[Single]:
    postgres, clickhouse, kafka = Part.POSTGRES, Part.CLICKHOUSE, stack.kafka
    proxy, cut = stack.proxy, stack.proxies.cut
    return [
        Single("the resolver's commits lose their replies", at(proxy(postgres, "resolver"), lost(is_commit))),
        Single("the segmenter's commits lose their replies", at(proxy(postgres, "segmenter"), lost(is_commit))),
        Single("inserts lose their replies", at(proxy(clickhouse, "recorder"), lost(is_insert))),
        Single("Postgres is far", at(proxy(postgres, "recorder"), lambda: Trouble(latency_s=0.2))),
        Single("ClickHouse says nothing", at(proxy(clickhouse, "recorder"), lambda: Trouble(swallows=True))),
        Single("ClickHouse's answers end early",
               at(proxy(clickhouse, "segmenter"), lambda: Trouble(cut_after=("down", 2000), times=3))),
        Single("the broker is far", at(kafka, lambda: Trouble(latency_s=0.05))),
        Single("acknowledgements are lost", at(kafka, lost(is_produce))),
        Single("the broker is cut off", lambda: cut(kafka)),
        # the front door alone asks it, when it is asked something
        Single("Redis is cut off", lambda: cut(proxy(Part.REDIS, "analytics-api")), lambda: _ask(stack)),
        Single("the platform is cut off", lambda: cut(stack.standin)),
    ]  # fmt: skip


def _ask(stack: Stack) -> None:
    with suppress(httpx.HTTPError):  # it may be dead
        stack.api("GET", "/segments", params={"limit": 1})


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
