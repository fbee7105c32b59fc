"""Disks that fill up under load, one after another, and are freed again: nobody repairs anything by hand."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from cdp_devstack.errors import StackError
from cdp_devstack.parts import Part
from faults.beside import beside
from faults.scenarios.inputs import event
from faults.stack import FLOW, Stack, until
from faults.trial import NotHere, Trial, fault
from faults.volumes import CannotMount

_MIB = 1024 * 1024
_SIZES = {"kafka": 256 * _MIB, "postgres": 512 * _MIB, "clickhouse": 256 * _MIB, "tmp": 8 * _MIB}
# who maps a file for which there is no room dies of a SIGBUS
_NO_ROOM = ("no space left", "not enough space", '"code": -7')
_FULL_SECONDS = 8.0
_HEALED_SECONDS = 90.0


@contextmanager
def small_disks() -> Iterator[Stack]:
    """A stack whose parts and whose temporary files have a disk of their own each."""
    try:
        stack = Stack(volumes=_SIZES)
    except CannotMount as missing:
        raise NotHere(f"a small volume cannot be mounted: {missing}") from missing
    try:
        yield stack
    finally:
        stack.close()


@fault("F17", "the disk of the log, of Postgres, of ClickHouse and of temporary files full", *FLOW, on=small_disks)
def disks_fill(trial: Trial) -> None:
    stack = trial.stack
    # two workers: they keep their metrics in temporary files
    stack.restart("ingest", CDP_INGEST_WORKERS="2", TMPDIR=str(stack.volumes["tmp"].folder))
    with trial.load(), _supervised(stack):
        for folder in list(_SIZES)[: trial.effort.of(len(_SIZES))]:
            _full(trial, folder)
            trial.proof.grows(100, _HEALED_SECONDS)
            until(f"all is ready after {folder} was full", lambda: all(map(stack.is_ready, FLOW)), _HEALED_SECONDS)


def _full(trial: Trial, folder: str) -> None:
    """Full for some seconds, whatever is released meanwhile; then free."""
    volume, end, statuses = trial.stack.volumes[folder], time.monotonic() + _FULL_SECONDS, dict[str, int]()
    number, noticed = 0, trial.stack.told(*_NO_ROOM)
    try:
        while time.monotonic() < end:
            volume.fill()
            if folder == "tmp" and not number:
                _kill_a_worker(trial)  # the files of those that live have their room; the next one needs some
            number += 1
            said = _offered(trial, folder, number)
            statuses[said] = statuses.get(said, 0) + 1
            time.sleep(0.2)
    finally:
        volume.free_all()
    noticed = trial.stack.told(*_NO_ROOM) - noticed
    trial.demand(noticed > 0, f"nobody missed room on the disk of {folder}, so nothing was shown")
    trial.notes.append(f"{folder} full: {statuses}, {noticed} times told")


def _kill_a_worker(trial: Trial) -> None:
    trial.chance.choice(trial.stack.workers("ingest")).kill()
    trial.kills += 1


def _offered(trial: Trial, folder: str, number: int) -> str:
    """One event, once; what was answered. A refusal must say when to come back."""
    batch = [event(trial, f"Full {folder}", number)]
    try:
        answer = trial.proof.post(batch)
    except httpx.HTTPError as error:
        trial.proof.sent(batch, 0)
        return type(error).__name__
    trial.proof.sent(batch, answer.status_code)
    trial.demand(answer.status_code in (200, 503), f"with a full disk of {folder} an event got {answer.status_code}")
    if answer.status_code == 503:
        trial.demand("retry-after" in answer.headers, "a 503 does not say when to come back")
    return str(answer.status_code)


@contextmanager
def _supervised(stack: Stack) -> Iterator[None]:
    """What ended is started again, as a supervisor does it, until the block ends."""

    def watch(over: threading.Event) -> None:
        while not over.wait(0.5):
            for part in Part:
                if not stack.parts.is_running(part):
                    try:
                        stack.parts.restart(part)
                    except StackError:
                        continue  # its disk may still be full

    with beside(watch, patience=120):
        yield
