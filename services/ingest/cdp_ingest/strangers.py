"""Calls with a write key that no source has -> dead letters that belong to no workspace, within a budget of bytes."""

from typing import Final

from cdp_eventlog.log import Producer
from cdp_ingest.accept import Refused
from cdp_ingest.publishing import dead_letter, publish
from cdp_ingest.quota import Limiter, Rate
from cdp_ingest.refusals import UNKNOWN_KEYS_LIMITED, WRITE_KEY_UNKNOWN, CallRefused, Fault
from cdp_runtime import metrics
from cdp_runtime.auth import hash_token
from cdp_runtime.clock import Clock

NO_WORKSPACE: Final = ""  # no token opens it: only who runs the platform sees what strangers sent
_BUDGET: Final = "strangers"


class Strangers:
    """Keeps bodies whole, as they came, so that they can be sent again once their source exists.

    ``rate`` is in bytes of dead letters, for all strangers together: whoever guesses keys can use it up, and fill
    nothing.
    """

    def __init__(self, log: Producer, clock: Clock, rate: Rate) -> None:
        self._log, self._clock, self._rate = log, clock, rate
        self._limiter = Limiter()

    async def keep(self, write_key: str, body: bytes) -> None:
        """Returns when the broker has the body. Raises CallRefused: 429 beyond the budget, 503 without the log."""
        now = self._clock.monotonic()
        try:
            self._limiter.check(_BUDGET, self._rate, now)
        except CallRefused as error:
            raise CallRefused(UNKNOWN_KEYS_LIMITED, retry_after=error.retry_after) from error
        fault = Fault(WRITE_KEY_UNKNOWN, "writeKey", f"It ends with {write_key[-4:]!r}.")
        source_id = f"key-{hash_token(write_key)[:12]}"  # the same for all calls with this key, without telling it
        letter = dead_letter(NO_WORKSPACE, source_id, self._clock.now(), Refused(body, fault))
        # spent before the broker answers: while it is slow, others must not spend the same bytes
        self._limiter.spend(_BUDGET, self._rate, len(letter.value), now)
        await publish(self._log, [letter], self._clock)
        metrics.INGEST_REFUSED.labels(WRITE_KEY_UNKNOWN.label).inc()
