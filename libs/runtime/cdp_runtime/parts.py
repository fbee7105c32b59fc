"""Many items -> parts of at most so many, for whatever takes no more at once."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def in_parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in their order, in lists of at most ``size``."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
