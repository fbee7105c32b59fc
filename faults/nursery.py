"""``python -m faults.nursery``: the program loaded once; a wish in, a forked process of it and its pid out.

What is killed every second would spend the machine on importing the same modules again: a start costs a second of CPU,
a fork 50 ms. The process that comes out runs what ``cdp run`` runs once its imports are done.
"""

import ctypes
import gc
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class Nursery:
    """The loaded program. Use it from one thread; its children die with it."""

    def __init__(self, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            argv = [sys.executable, "-m", "faults.nursery"]
            # in a session of its own: a Ctrl-C at the terminal is for the one who owns it
            self._loaded = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, start_new_session=True
            )

    def bear(self, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
        """The pid of a new process of ``cdp`` with these arguments. Raises OSError when the nursery is gone."""
        assert self._loaded.stdin is not None and self._loaded.stdout is not None
        wish = {"argv": list(argv), "environment": {**os.environ, **environment}, "log": str(log)}
        self._loaded.stdin.write(json.dumps(wish).encode() + b"\n")
        self._loaded.stdin.flush()
        answer = self._loaded.stdout.readline()
        if not answer:
            raise OSError("the nursery has ended")
        return int(answer)

    def close(self) -> None:
        """Ends it, and with it whatever of its children is left."""
        self._loaded.kill()
        self._loaded.wait()


class Child:
    """A process of the nursery, with the face of :class:`cdp_devstack.process.Process`."""

    def __init__(self, nursery: Nursery, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._nursery, self._arguments, self._environment, self._log = nursery, arguments, environment, log
        self._handle: int | None = None
        self.pid: int | None = None

    def start(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.touch()
        self.pid = self._nursery.bear(self._arguments, self._environment, self._log)
        try:
            self._handle = os.pidfd_open(self.pid)
        except ProcessLookupError:  # it has ended already
            self._handle = None

    @property
    def is_running(self) -> bool:
        return self.pid is not None and self.wait(0) is None

    def wait(self, seconds: float) -> int | None:
        """None while it runs after so many seconds; how it ended nobody knows, so 0 for every end."""
        if self._handle is None:
            return 0
        if not select.select([self._handle], [], [], seconds)[0]:
            return None
        os.close(self._handle)
        self._handle = None
        return 0

    def kill(self) -> None:
        """SIGKILL it and the process group it leads."""
        if self.pid is None or self._handle is None:
            return
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # it leads no group yet
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        self.wait(10)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that does not help within its time to drain."""
        if self._handle is not None:
            signal.pidfd_send_signal(self._handle, signal.SIGTERM)
            self.wait(40)
            self.kill()


def _serve() -> None:
    _preload()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    own = os.getpid()
    while wish := sys.stdin.buffer.readline():
        pid = os.fork()
        if pid == 0:
            _become(json.loads(wish), own)
        os.write(1, b"%d\n" % pid)


def _preload() -> None:
    """Everything that a service imports when it is built; nothing of it may start a thread."""
    for module in ("cdp_runtime.cli", "uvloop", "cdp_eventlog.consumer", "cdp_eventlog.producer"):
        import_module(module)
    for group in ("cdp.services", "cdp.api"):
        for entry in entry_points(group=group):
            import_module(entry.module)


def _become(wish: Mapping[str, Any], parent: int) -> None:
    """Turns this fork into the process that was wished for; never returns."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked to be told
        os._exit(1)
    output = os.open(wish["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(old, new)
    os.environ.clear()
    os.environ.update(wish["environment"])
    sys.argv = ["cdp", *wish["argv"]]
    os._exit(_ran())


def _ran() -> int:
    from cdp_runtime.cli import main

    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    _serve()
