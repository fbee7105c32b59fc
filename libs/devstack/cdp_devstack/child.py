"""`python child.py PARENT SIGNAL UID GID NICENESS program args...` ties the program to its parent, then execs it.

A wrapper instead of Popen's preexec_fn, which is unsafe in a process that has threads. In: the command line; out: the
program in a session of its own (a Ctrl-C at the terminal reaches only the parent), killed when its parent dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
CAPABILITY_VERSION_3 = 0x20080522
WISHES = 100


class CapabilityHeader(ctypes.Structure):
    """The first argument of capset(2)."""

    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class CapabilityData(ctypes.Structure):
    """The second argument of capset(2): two of them, for the low and the high 32 capabilities."""

    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


def drop_root(libc: ctypes.CDLL, uid: int, gid: int) -> None:
    """Become an unprivileged user that may still walk through the parent directories of the data and the binaries.

    A checkout below a 0700 home would otherwise be out of reach for the database, which refuses to run as root.
    """
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        mask = 1 << capability
        data = (CapabilityData * 2)(CapabilityData(mask, mask, mask), CapabilityData(0, 0, 0))
        header = CapabilityHeader(CAPABILITY_VERSION_3, 0)
        if libc.capset(ctypes.byref(header), data) == 0:
            libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)
            return  # a container without this capability: the directories must be open, the part's log says so


def be_nice(niceness: int) -> None:
    """Take less of the processors while others want them, or more (below 0) where the system lets this user.

    Where Linux shares them out among sessions (autogroups, sched(7)), the session's own niceness is what counts. Of
    all users but root it takes one such wish in a tenth of a second.
    """
    with contextlib.suppress(PermissionError):
        os.nice(niceness)
    for _ in range(WISHES):
        try:
            with open("/proc/self/autogroup", "w") as autogroup:
                autogroup.write(str(niceness))
            return
        except BlockingIOError:
            time.sleep(random.uniform(0.02, 0.1))
        except OSError:
            return


def main(arguments: list[str]) -> None:
    """Set up this process and become the program."""
    parent, death_signal, uid, gid, niceness = (int(argument) for argument in arguments[:5])
    program = arguments[5:]
    os.setsid()
    be_nice(niceness)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if uid >= 0:
            drop_root(libc, uid, gid)
        libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)  # after setuid, which clears it
    elif uid >= 0:
        os.setgid(gid)
        os.setuid(uid)
    if os.getppid() != parent:  # it died before we asked to be told
        os.kill(os.getpid(), signal.SIGKILL)
    os.execvp(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
