"""Open streams per token, workspace and client -> room for one more, or which of them has no more."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from cdp_runtime.envelope import ApiError
from cdp_runtime.metrics import API_STREAMS_REFUSED

_RETRY_S: Final = 5


class Seats:
    """``most``: kind of holder -> how many streams one of that kind may hold open in this process."""

    def __init__(self, most: Mapping[str, int]) -> None:
        self._most = most
        self._taken: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def taken(self, holders: Mapping[str, str]) -> Iterator[None]:
        """A seat for the duration, counted for each of the holders. Raises ApiError 429 when one has no more."""
        for kind, holder in holders.items():
            if self._taken[kind, holder] >= self._most[kind]:
                API_STREAMS_REFUSED.labels(kind).inc()
                raise _full(kind, self._most[kind])
        self._taken.update(holders.items())
        try:
            yield
        finally:
            self._taken -= Counter(holders.items())  # keeps no zeros: the table is as long as the list of streams


def _full(kind: str, most: int) -> ApiError:
    message = f"This {kind} has {most} streams open, which is all that it may have; close one."
    return ApiError(429, "too_many_streams", message, headers={"Retry-After": str(_RETRY_S)})
