"""Bearer token -> principal, kept for some seconds; who used a token when -> the store, now and then."""

import asyncio
import hmac
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout

from cdp_analytics_api.ports import StoredToken, Tokens
from cdp_runtime.auth import Principal, hash_token
from cdp_runtime.clock import Clock
from cdp_runtime.envelope import ApiError, unavailable
from cdp_runtime.logs import get_logger

_log = get_logger(__name__)
_MOST_CACHED: Final = 10_000
_LONGEST_TOKEN: Final = 512


@dataclass(frozen=True, slots=True)
class _Known:
    token: StoredToken | None
    until: float


class TokenAuthenticator:
    """The Authenticator of the front door.

    Unknown tokens are remembered as well, so that repeating one costs the store nothing, and apart from the known ones,
    so that guesses push none of those out. A revoked token works at most ``cache_seconds`` longer; when the store is
    down and nothing is remembered the answer is 503, never a guess.
    """

    def __init__(self, tokens: Tokens, clock: Clock, *, cache_seconds: float) -> None:
        self._tokens, self._clock, self._cache_seconds = tokens, clock, cache_seconds
        self._good: OrderedDict[str, _Known] = OrderedDict()
        self._bad: OrderedDict[str, _Known] = OrderedDict()
        self._used: dict[tuple[str, str], datetime] = {}
        self._asking: dict[str, asyncio.Future[StoredToken | None]] = {}

    async def principal(self, token: str) -> Principal | None:
        if not 0 < len(token) <= _LONGEST_TOKEN:
            return None
        token_hash = hash_token(token)
        stored = await self._stored(token_hash)
        if stored is None or not hmac.compare_digest(stored.token_hash, token_hash):
            return None
        now = self._clock.now()
        if stored.expires_at is not None and stored.expires_at <= now:
            return None
        self._used[stored.principal.workspace_id, stored.principal.token_id] = now
        return stored.principal

    def remembers(self, token: str) -> bool:
        """Whether this token was good when it was last looked up, however long ago."""
        return len(token) <= _LONGEST_TOKEN and hash_token(token) in self._good

    async def note_uses(self) -> None:
        """Tells the store which tokens were used since the last call; loses nothing when the store is down."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            await self._tokens.used(used)
        except (psycopg.Error, PoolTimeout) as error:
            self._used = {**used, **self._used}
            _log.warning("token_uses_not_noted", reason=str(error))

    async def _stored(self, token_hash: str) -> StoredToken | None:
        known = self._good.get(token_hash) or self._bad.get(token_hash)
        if known is not None and known.until > self._clock.monotonic():
            return known.token
        stored = await self._ask_once(token_hash)
        self._remember(token_hash, stored)
        return stored

    def _remember(self, token_hash: str, stored: StoredToken | None) -> None:
        table, other = (self._good, self._bad) if stored is not None else (self._bad, self._good)
        other.pop(token_hash, None)
        table[token_hash] = _Known(stored, self._clock.monotonic() + self._cache_seconds)
        table.move_to_end(token_hash)
        if len(table) > _MOST_CACHED:
            table.popitem(last=False)

    async def _ask_once(self, token_hash: str) -> StoredToken | None:
        """One question to the store for however many requests wait for it."""
        asking = self._asking.get(token_hash)
        if asking is None:
            asking = self._asking[token_hash] = asyncio.ensure_future(self._tokens.find(token_hash))
            asking.add_done_callback(lambda _: self._asking.pop(token_hash, None))
        try:
            return await asyncio.shield(asking)
        except (psycopg.Error, PoolTimeout) as error:
            raise _untellable(error) from error


def _untellable(error: Exception) -> ApiError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return unavailable("postgres", f"Postgres does not answer, so the API token cannot be checked: {reason}")
