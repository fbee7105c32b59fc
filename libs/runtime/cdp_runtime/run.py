"""A service by name -> a running process: admin port, start, work, drain on SIGTERM; the first failure ends it."""

import asyncio
import gc
import logging
import os
import signal
import threading
from collections.abc import Mapping
from importlib.metadata import entry_points

import uvloop

from cdp_runtime import faultpoints, logs
from cdp_runtime.admin import AdminServer
from cdp_runtime.allocator import give_memory_back
from cdp_runtime.service import Service
from cdp_runtime.settings import BadSettings, ServiceSettings, load

_log = logs.get_logger(__name__)
_GC_OBJECTS = 20_000  # new ones before they are looked through


class UnknownService(Exception):
    """No installed package offers a service of that name."""


def service_names() -> list[str]:
    """The services that can be run, by name."""
    return sorted(entry.name for entry in entry_points(group="cdp.services"))


def build(name: str) -> Service:
    """The service of that name, wired from the environment. Raises UnknownService and BadSettings."""
    found = entry_points(group="cdp.services", name=name)
    if not found:
        raise UnknownService(f"There is no service {name!r}; there are {', '.join(service_names())}.")
    service: Service = next(iter(found)).load()()
    return service


def run(name: str) -> int:
    """Runs a service until it is told to stop; returns the exit code."""
    give_memory_back()
    settings = load(ServiceSettings)
    logs.configure(settings.log_level, settings.log_format, name)
    try:
        faultpoints.arm(settings.fault)
    except faultpoints.BadFault as fault:
        raise BadSettings(str(fault)) from fault
    service = build(name)
    # start-up objects live for ever: leave them out of every later collection
    gc.collect()
    gc.freeze()
    # the objects of a batch, or of the requests that are open, live as long as it does: looking at them finds nothing
    gc.set_threshold(_GC_OBJECTS, 20, 20)
    gc.enable()
    code = uvloop.run(_lifetime(service, settings))
    _leave_threads(code)
    return code


def _leave_threads(code: int) -> None:
    """Ends a drained process although a library's thread goes on: Python would wait for it for ever."""
    left = [one.name for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    if left:
        _log.warning("threads_left", threads=left)
        logging.shutdown()
        os._exit(code)


class _Lifetime:
    """What /readyz says in each phase."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.phase = "starting"

    def faults(self) -> Mapping[str, str]:
        faults = dict(self._service.faults())
        if self.phase != "running":
            faults.setdefault("process", f"the process is {self.phase}")
        return faults


async def _lifetime(service: Service, settings: ServiceSettings) -> int:
    lifetime = _Lifetime(service)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    admin = AdminServer(
        settings.admin_host,
        settings.admin_port,
        lifetime.faults,
        metrics=getattr(service, "metrics", None),  # a service of several processes adds their metrics up itself
    )
    try:
        port = await admin.start()
    except OSError as error:
        _log.error("admin_port_taken", port=settings.admin_port, reason=str(error), variable="CDP_ADMIN_PORT")
        return 1
    _log.info("process_started", name=service.name, admin=f"http://{settings.admin_host}:{port}")
    work = asyncio.create_task(_work(service, lifetime))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    lifetime.phase = "stopping"
    code = await _end(service, work)
    await admin.stop()
    stopped.cancel()
    _log.info("process_stopped", name=service.name, code=code)
    if isinstance(failure := _failure(work), BadSettings):
        raise failure
    return code


async def _work(service: Service, lifetime: _Lifetime) -> None:
    await service.start()
    lifetime.phase = "running"
    await service.run()


async def _end(service: Service, work: asyncio.Task[None]) -> int:
    """Drains the service; 1 when its work failed, or its end."""
    failed = _has_failed(service, work)
    try:
        async with asyncio.timeout(30):
            await service.stop()
            if not work.done():
                await asyncio.wait({work}, timeout=5)
    except Exception:
        _log.exception("stop_failed", name=service.name)
        failed = True
    if not work.done():
        work.cancel()
        await asyncio.wait({work})
    return 1 if failed or _has_failed(service, work) else 0


def _has_failed(service: Service, work: asyncio.Task[None]) -> bool:
    failure = _failure(work)
    if failure is not None and not isinstance(failure, BadSettings):
        _log.error("process_failed", name=service.name, exc_info=failure)
    return failure is not None


def _failure(work: asyncio.Task[None]) -> BaseException | None:
    return work.exception() if work.done() and not work.cancelled() else None
