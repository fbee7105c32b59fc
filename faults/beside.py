"""Work in threads of its own, while a block runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(*works: Callable[[threading.Event], object], patience: float = 30.0) -> Iterator[None]:
    """Each is given what is set when the block ends, and waited for then, ``patience`` seconds at most."""
    over = threading.Event()
    threads = [threading.Thread(target=work, args=(over,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(patience)
