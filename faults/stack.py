"""Nothing -> the parts with a proxy before each, and Millrace's processes, started, killed and armed by name."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from cdp_devstack.background import BackgroundStack
from cdp_devstack.kafka import Kafka
from cdp_devstack.parts import URL_VARIABLES, Part, Ports, free_ports
from cdp_devstack.process import Command, Process
from cdp_devstack.programs import cdp
from cdp_devstack.stack import RECIPES, Recipe
from faults.nursery import Child, Nursery
from faults.proxy import Proxies, Proxy
from faults.tenants import DEMO, NEIGHBOUR, SECRET_KEY, Tenant, open_workspace, told
from faults.volumes import Volume

FLOW = ("ingest", "resolver", "recorder")
PLATFORMS = "platforms"  # the local process that stands in for them
ALL = (*FLOW, "segmenter", "activation", "analytics-api")
READY_SECONDS = 120.0
# one for every question: a new one reads the machine's certificates, 25 ms of CPU; whoever answers may be killed, so it
# keeps no connection
HTTP = httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


class NotInTime(Exception):
    """Something did not happen within its deadline; the sentence says what."""


def until(what: str, condition: Callable[[], bool], seconds: float) -> None:
    """Asks until it is true; who does not answer is asked again. Raises NotInTime."""
    end = time.monotonic() + seconds
    while True:
        with suppress(httpx.HTTPError):
            if condition():
                return
        if time.monotonic() > end:
            raise NotInTime(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)


class Stack:
    """Everything that a scenario can break. Use it from one thread that lives as long as the stack."""

    def __init__(self, release: Path | None = None, volumes: Mapping[str, int] | None = None) -> None:
        """``release``: the tree that makes the stores and whose code the processes run; this one without it.

        ``volumes``: folders of the data that are on a volume of so many bytes. Raises volumes.CannotMount.
        """
        self.release = release
        self.code: dict[str, Path | None] = {}  # name -> the tree whose code it runs, when it is another one
        self._folder = Path(tempfile.mkdtemp(prefix="millrace-faults-"))
        self.data = self._folder / "data"
        self.proxies = Proxies()
        # where there are no handles of processes, they are started one by one as everywhere
        self._nursery = Nursery(self._folder / "logs" / "nursery.log") if hasattr(os, "pidfd_open") else None
        ports = Ports.free()
        self.kafka = self.proxies.before(ports.kafka)
        recipes: dict[Part, Recipe] = {**RECIPES, Part.KAFKA: partial(Kafka, advertised=self.kafka.port)}
        self.parts = BackgroundStack(self.data, ports, recipes)
        self.ports = dict(zip(("ingest", "api", "standin"), free_ports(3), strict=True))
        self._proxied: dict[tuple[Part, str], Proxy] = {}
        self._processes: dict[str, Process | Child] = {}
        self._said: dict[str, int] = {}  # name -> bytes of its log when it was started last
        self._admin = dict(zip(ALL, free_ports(len(ALL)), strict=True))
        self.volumes: dict[str, Volume] = {}
        self.callable: set[str] = set()  # further host:port that destinations may have
        self.wrapped: dict[str, Sequence[str]] = {}  # name -> a command that its own is given to
        try:
            self._open(volumes or {})
        except BaseException:
            self.close()
            raise

    def _open(self, volumes: Mapping[str, int]) -> None:
        for folder, size in volumes.items():
            self.volumes[folder] = Volume(self.data / folder, size)
        self.urls = {part: self.parts.url(part) for part in Part}
        self.standin = self.proxies.before(self.ports["standin"])
        for arguments in (["migrate"], ["topics", "create"], ["seed"]):
            self.step(*arguments, release=self.release)
        if self.release is None:
            open_workspace(self.urls[Part.POSTGRES], NEIGHBOUR)
            return
        for arguments in (["workspaces", "create"], ["sources", "create", "web", "--workspace"]):
            key = ["--write-key", NEIGHBOUR.write_key] if "web" in arguments else []
            self.step(*arguments, NEIGHBOUR.workspace, *key, release=self.release)

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.ports['ingest']}"

    @property
    def standin_url(self) -> str:
        """The stand-in for platforms itself, which is asked what it holds."""
        return f"http://127.0.0.1:{self.ports['standin']}"

    @property
    def platforms_url(self) -> str:
        """The same behind the proxy, as destinations have it."""
        return f"http://127.0.0.1:{self.standin.port}"

    def proxy(self, part: Part, service: str) -> Proxy:
        """What stands between a service and a part: one each, but for the broker, which has one for all."""
        if part is Part.KAFKA:
            return self.kafka
        port = int(self.urls[part].rpartition("@")[2].rpartition("/")[0].rpartition(":")[2])
        if part is Part.REDIS:
            port = int(self.urls[part].split(":")[2].split("/")[0])
        key = (part, service)
        if key not in self._proxied:
            self._proxied[key] = self.proxies.before(port)
        return self._proxied[key]

    def start(self, name: str, fault: str = "", **settings: str) -> None:
        """Starts a service or the stand-in, without waiting. ``fault`` is its CDP_FAULT; ``~2`` makes a second one."""
        release = self.code.get(name, self.release)
        if name != PLATFORMS and name not in self._admin:
            self._admin[name] = free_ports(1)[0]
        environment = {**self._environment(name, CDP_FAULT=fault, **settings), **_code_of(release)}
        process = self._process(name, environment, release)
        log = self.log(name)
        self._said[name] = log.stat().st_size if log.exists() else 0
        process.start()
        self._processes[name] = process

    def _process(self, name: str, environment: Mapping[str, str], release: Path | None) -> Process | Child:
        arguments = ["run-local" if name == PLATFORMS else "run", name.partition("~")[0]]
        log = self.log(name)
        isolated = release is not None or name in self.wrapped or name == PLATFORMS
        if self._nursery is not None and not isolated:
            return Child(self._nursery, arguments, environment, log)
        argv = [*self.wrapped.get(name, ()), *_program(release, *arguments)]
        return Process(name, Command(argv, environment, stop_seconds=40), log)

    def need(self, *names: str) -> None:
        """Starts what does not run, and returns when each of them is ready."""
        for name in names:
            if not self.is_running(name):
                self.start(name)
        for name in names:
            until(f"{name} is ready", partial(self.is_ready, name), READY_SECONDS)

    def is_running(self, name: str) -> bool:
        return name in self._processes and self._processes[name].is_running

    def is_ready(self, name: str) -> bool:
        """A process that ended while it should get ready is started again, as a supervisor would."""
        if not self.is_running(name):
            self.start(name)
        if name == PLATFORMS:
            return _answers(f"{self.standin_url}/_standin/trouble")
        return _answers(f"http://127.0.0.1:{self._admin[name]}/readyz")

    def restart(self, name: str, **settings: str) -> None:
        """SIGTERM, and up again with these settings. Returns when it is ready."""
        if self.is_running(name):
            self.end(name)
        self.start(name, "", **settings)
        self.need(name)

    def kill(self, name: str) -> None:
        """kill -9."""
        self._processes[name].kill()

    def end(self, name: str) -> None:
        """SIGTERM, and returns when it has ended."""
        self._processes[name].stop()

    def is_stopped(self, name: str) -> bool:
        """Whether it stands still after a SIGSTOP."""
        pid = self._processes[name].pid
        return pid is not None and psutil.Process(pid).status() == psutil.STATUS_STOPPED

    def signal(self, name: str, number: signal.Signals) -> None:
        pid = self._processes[name].pid
        assert pid is not None
        os.kill(pid, number)

    def dies(self, name: str, seconds: float) -> bool:
        """Whether it ends within that time."""
        return self._processes[name].wait(seconds) is not None

    def came_to(self, name: str, point: str) -> bool:
        """Whether it acted at this fault point in its last life: whoever is gone may have ended by itself."""
        return self.said(name, "fault_point", f'"{point}"')

    def said(self, name: str, *words: str) -> bool:
        """Whether a line of what it logged in its last life holds all of these."""
        with self.log(name).open("rb") as log:
            log.seek(self._said[name])
            return any(all(word.encode() in line for word in words) for line in log)

    def told(self, *words: str) -> int:
        """In how many lines of all logs, those of the parts too, one of these is."""
        logs = [*(self._folder / "logs").glob("*.log"), *(self.data / "logs").glob("*.log")]
        lines = (line.lower() for log in logs for line in log.read_bytes().splitlines())
        return sum(any(word.encode() in line for word in words) for line in lines)

    def metric(self, name: str, metric: str, label: str = "") -> float:
        """The sum of a process's samples of a metric; of those with this ``name="value"``, if one is given."""
        page = HTTP.get(f"http://127.0.0.1:{self._admin[name]}/metrics", timeout=5).text
        lines = (line for line in page.splitlines() if line.startswith((metric + " ", metric + "{")))
        lines = (line for line in lines if label in line)
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def api(self, method: str, path: str, tenant: Tenant = DEMO, **options: Any) -> httpx.Response:
        """A call of the front door."""
        url = f"http://127.0.0.1:{self.ports['api']}/api/cdp{path}"
        return HTTP.request(method, url, headers={"Authorization": f"Bearer {tenant.token}"}, timeout=15, **options)

    def admin_urls(self) -> list[str]:
        """The admin ports of all services that run."""
        return [f"http://127.0.0.1:{port}" for name, port in self._admin.items() if self.is_running(name)]

    def memory(self, name: str) -> int:
        """Resident bytes."""
        return int(psutil.Process(self._processes[name].pid).memory_info().rss)

    def workers(self, name: str) -> list[psutil.Process]:
        """The processes that a service has beneath its own."""
        return psutil.Process(self._processes[name].pid).children()

    def recover(self, names: Sequence[str]) -> None:
        """No trouble, every part up, every process ready. Raises NotInTime."""
        self.calm()
        for part in Part:
            if not self.parts.is_running(part):
                self.parts.restart(part)
        self.need(*names)

    def calm(self) -> None:
        """Ends all trouble of all proxies."""
        for proxy in (self.kafka, self.standin, *self._proxied.values()):
            self.proxies.heal(proxy)

    def leaks(self, secrets: Iterable[str] = ()) -> list[str]:
        """A sentence for each log of ours that tells a secret or a person."""
        return list(told((self._folder / "logs").glob("*.log"), secrets))

    def log(self, name: str) -> Path:
        return self._folder / "logs" / f"{name}.log"

    def keep(self) -> Path:
        """A copy of journals and logs that outlives the stack; returns where."""
        kept = self._folder.with_name(f"{self._folder.name}-kept")
        for part in ("journals", "logs"):
            shutil.copytree(self._folder / part, kept / part, dirs_exist_ok=True)
        return kept

    def journal(self, run: str) -> Path:
        """Where a run keeps what its clients know; it goes with the stack, but for a copy."""
        folder = self._folder / "journals"
        folder.mkdir(exist_ok=True)
        return folder / run

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
        if self._nursery is not None:
            self._nursery.close()
        self.parts.close()
        self.proxies.close()
        for volume in self.volumes.values():
            volume.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def step(self, *arguments: str, release: Path | None = None) -> None:
        """One command of ``cdp`` that ends. Raises NotInTime when it fails."""
        done = subprocess.run(
            _program(release, *arguments),
            env={**os.environ, **self._environment("setup"), **_code_of(release)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NotInTime(f"`cdp {' '.join(arguments)}` failed: {done.stderr.strip()[-500:]}")

    def _environment(self, service: str, **settings: str) -> dict[str, str]:
        urls = {URL_VARIABLES[part]: self._url(part, service) for part in Part}
        stand_in = f"127.0.0.1:{self.standin.port}"
        return {
            **urls,
            "CDP_DATA_DIR": str(self.data),
            "CDP_SECRET_KEY": SECRET_KEY,
            "CDP_ADMIN_PORT": str(self._admin.get(service, 0)),
            "CDP_INGEST_PORT": str(self.ports["ingest"]),
            "CDP_API_PORT": str(self.ports["api"]),
            "CDP_STANDIN_PORT": str(self.ports["standin"]),
            "CDP_STANDIN_URL": f"http://{stand_in}",
            "CDP_ACTIVATION_ALLOWED_HOSTS": ",".join((stand_in, *self.callable)),
            **settings,
        }

    def _url(self, part: Part, service: str) -> str:
        if part is Part.KAFKA:
            return f"127.0.0.1:{self.kafka.port}"
        proxy = self.proxy(part, service)
        return self.urls[part].replace(f":{proxy.upstream}", f":{proxy.port}")


class OnDemand:
    """A stack that is made when it is asked for, and then always the same."""

    def __init__(self) -> None:
        self._made: Stack | None = None

    def __call__(self) -> Stack:
        if self._made is None:
            self._made = Stack()
        return self._made

    def close(self) -> None:
        if self._made is not None:
            self._made.close()


def _program(release: Path | None, *arguments: str) -> list[str]:
    """The program ``cdp``. The script that is installed is this release's and begins with a module that others lack."""
    return cdp(*arguments) if release is None else [sys.executable, "-m", "cdp_runtime.cli", *arguments]


def _code_of(release: Path | None) -> dict[str, str]:
    """What makes a process import another tree's packages before the installed ones."""
    if release is None:
        return {}
    packages = [*sorted(release.glob("libs/*")), *sorted(release.glob("services/*"))]
    return {"PYTHONPATH": os.pathsep.join(map(str, packages))}


def _answers(url: str) -> bool:
    try:
        return HTTP.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False
