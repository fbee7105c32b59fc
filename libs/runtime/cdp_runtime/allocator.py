"""glibc's allocator, told to give memory back: a batch's memory otherwise stays with the process that freed it."""

import ctypes
from typing import Final

# names and numbers of malloc.h. By default each thread gets a heap of its own, and the sizes that are given back grow
# with whatever was once freed.
_TRIM_THRESHOLD: Final = (-1, 131_072)
_MMAP_THRESHOLD: Final = (-3, 131_072)
_ARENA_MAX: Final = (-8, 2)


def give_memory_back() -> bool:
    """Call before the first thread starts. False where the C library has no such options (musl, macOS)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    taken = [mallopt(option, value) for option, value in (_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX)]
    return all(taken)
