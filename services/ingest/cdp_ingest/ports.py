"""What the gateway needs from outside, by its own need: sources, the log, counts, shared limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Source:
    """Where events come from: one write key of one workspace.

    An event is kept only when its context grants every category of ``required_consent``.
    """

    workspace_id: str
    source_id: str
    name: str
    enabled: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    required_consent: tuple[str, ...] = ()


class LookupImpossible(Exception):
    """Whether a write key exists cannot be told now: answer 503, never 401."""


class Sources(Protocol):
    """Finds the source of a write key."""

    def known(self, write_key: str) -> Source | None:
        """What was found not long ago, without a wait; else None."""

    def was_known(self, write_key: str) -> bool:
        """Whether it was ever found: to ask for it is no guess."""

    async def find(self, write_key: str) -> Source | None:
        """None only after an authoritative look. Raises LookupImpossible."""


class SourceTable(Protocol):
    """The table behind the cache of sources."""

    async def source(self, write_key_hash: str) -> Source | None:
        """By SHA-256 hex of the write key. Raises LookupImpossible when the table does not answer."""


class AcceptedRow(NamedTuple):
    """How many events of a source one run of the gateway accepted in the minute that starts at ``minute``."""

    workspace_id: str
    source_id: str
    minute: datetime
    run_id: str
    total: int


class AcceptedTable(Protocol):
    """The durable counts of accepted events."""

    async def record(self, rows: Sequence[AcceptedRow]) -> None:
        """Sets (does not add) each row's count: a repeat changes nothing. Raises OSError when it cannot."""

    async def forget(self, before: datetime) -> None:
        """Drops the rows of minutes before that time. Raises OSError when it cannot."""


class SharedSpending(Protocol):
    """What all gateways together have spent of the sources' limits."""

    async def exchange(self, spent: Mapping[str, int]) -> Mapping[str, int]:
        """Tells what this worker spent since the last call; answers what the others did. Raises OSError when away."""
