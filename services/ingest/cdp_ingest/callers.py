"""A call's keys and its client's address -> its source; whoever guesses keys waits before the table is asked."""

import math
from collections.abc import Sequence

from cdp_ingest.ports import LookupImpossible, Source, Sources
from cdp_ingest.refusals import KEYS_GUESSED, SOURCES_UNAVAILABLE, CallRefused
from cdp_runtime.clients import Network, client_address, client_block
from cdp_runtime.rates import Rates


class Callers:
    """Each unknown key counts against the address that it came from.

    A key that this worker knows costs nobody anything and always passes: behind one address there are often many
    clients, and one of them must not lock out the others. Counted per worker: sharing would need Redis in each call.
    """

    def __init__(self, sources: Sources, guesses: Rates, proxies: Sequence[Network] = ()) -> None:
        self._sources, self._guesses, self.proxies = sources, guesses, proxies

    async def source(self, keys: Sequence[str], peer: str, forwarded: bytes) -> Source | None:
        """The source of the first known key. None only after an authoritative look. Raises CallRefused.

        ``peer`` is the address at the other end, ``forwarded`` the X-Forwarded-For that it sent, or nothing.
        """
        wait = 0.0
        for key in keys:
            source = self._sources.known(key)
            if source is None and not wait:
                source, wait = await self._looked_up(key, peer, forwarded)
            if source is not None:
                return source
        if wait:
            raise CallRefused(KEYS_GUESSED, retry_after=math.ceil(wait))
        return None

    async def _looked_up(self, key: str, peer: str, forwarded: bytes) -> tuple[Source | None, float]:
        """The source, or the seconds that this client has to wait until it may ask."""
        if self._sources.was_known(key):
            return await self._sources.find(key), 0.0
        client = client_block(client_address(peer, forwarded, self.proxies))
        if wait := self._guesses.admit(client):
            return None, wait
        try:
            source = await self._sources.find(key)
        except LookupImpossible as error:
            self._guesses.forgive(client)
            raise CallRefused(SOURCES_UNAVAILABLE) from error
        if source is not None:
            self._guesses.forgive(client)
        return source, 0.0
