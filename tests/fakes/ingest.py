"""The gateway's outside as plain Python: a table of sources, a table of counts, a log that can fail, shared limits."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from cdp_eventlog.log import LogUnavailable, Outgoing
from cdp_ingest.ports import AcceptedRow, LookupImpossible, Source
from cdp_runtime.auth import hash_token


class FakeSourceTable:
    """SourceTable; ``down`` makes every look impossible, ``looks`` counts them."""

    def __init__(self, sources: Mapping[str, Source] | None = None) -> None:
        self.sources = {hash_token(key): source for key, source in (sources or {}).items()}
        self.down = False
        self.looks = 0
        self.gate: asyncio.Event | None = None

    async def source(self, write_key_hash: str) -> Source | None:
        self.looks += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise LookupImpossible("the table is away")
        return self.sources.get(write_key_hash)


class FakeAcceptedTable:
    """AcceptedTable over a dict."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str, datetime, str], int] = {}
        self.down = False
        self.forgotten: list[datetime] = []

    async def record(self, rows: Sequence[AcceptedRow]) -> None:
        if self.down:
            raise OSError("the table is away")
        for row in rows:
            self.counts[row[:4]] = row.total

    async def forget(self, before: datetime) -> None:
        if self.down:
            raise OSError("the table is away")
        self.forgotten.append(before)


class FakeLog:
    """Producer that keeps what it is given; ``down`` makes it refuse, ``gate`` makes it wait."""

    def __init__(self) -> None:
        self.published: list[Outgoing] = []
        self.calls = 0
        self.down = False
        self.gate: asyncio.Event | None = None

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        self.calls += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise LogUnavailable("the broker is away", retry_after=2.2)
        self.published.extend(messages)

    def fault(self) -> str | None:
        return "the broker is away" if self.down else None

    def of(self, topic: str) -> list[Outgoing]:
        return [message for message in self.published if message.topic == topic]


class FakeSpending:
    """SharedSpending: answers ``others`` once, remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[dict[str, int]] = []
        self.others: dict[str, int] = {}
        self.down = False

    async def exchange(self, spent: Mapping[str, int]) -> Mapping[str, int]:
        if self.down:
            raise OSError("away")
        self.told.append(dict(spent))
        others, self.others = self.others, {}
        return others
