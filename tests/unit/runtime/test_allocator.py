"""What a process frees goes back to the system where the C library can be told so."""

import platform
import subprocess
import sys

import pytest

# once a large piece was freed, smaller ones stay with the process by default: how much of a batch does, in bytes
_BATCH = """
import os, sys
from cdp_runtime.allocator import give_memory_back
assert sys.argv[1] == "untold" or give_memory_back()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
bytes(20_000_000)
before = resident()
pieces = [bytes(b"x" * 500_000) for _ in range(60)]
del pieces
print(resident() - before)
"""


def _left(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", _BATCH, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc: nothing to tell it")
def test_a_batch_goes_back_when_it_is_done() -> None:
    assert _left("told") < 2_000_000 < _left("untold")
