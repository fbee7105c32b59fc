"""Hand-written stand-ins for the front door's ports."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from cdp_analytics_api.ports import AuditEntry, StoredToken


class FakeTokens:
    """Tokens in memory that can be told to fail."""

    def __init__(self, *tokens: StoredToken) -> None:
        self.stored = {token.token_hash: token for token in tokens}
        self.asked = 0
        self.noted: list[Mapping[tuple[str, str], datetime]] = []
        self.failure: Exception | None = None

    async def find(self, token_hash: str) -> StoredToken | None:
        self.asked += 1
        if self.failure:
            raise self.failure
        return self.stored.get(token_hash)

    async def used(self, tokens: Mapping[tuple[str, str], datetime]) -> None:
        if self.failure:
            raise self.failure
        self.noted.append(dict(tokens))


class FakeAuditLog:
    """Remembers the sizes of the groups it was given. A write ends when it may."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.failure: Exception | None = None
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def write(self, entries: Sequence[AuditEntry]) -> None:
        if self.failure:
            raise self.failure
        self.groups.append(len(entries))
        await self.may_end.wait()

    async def purge(self, before: datetime) -> None:
        raise NotImplementedError("the door's layers only write")
