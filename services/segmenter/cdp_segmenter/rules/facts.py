"""What is known of one profile, as a rule sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from cdp_schemas.profiles import IN_ADDRESS

ELSEWHERE: Final = {trait: f"address.{trait}" for trait in IN_ADDRESS}


@dataclass(frozen=True, slots=True)
class Event:
    """One stored event of the profile; ``timestamp`` in whole milliseconds, ``properties`` decoded JSON."""

    name: str
    timestamp: datetime
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """One profile at one moment. Money in minor units of ``currency``; instants aware, in whole milliseconds.

    ``traits`` is decoded JSON; ``segments`` holds the manual segments the profile is a member of.
    """

    profile_id: UUID
    traits: Mapping[str, Any] = field(default_factory=dict)
    identifiers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    consent: Mapping[str, bool] = field(default_factory=dict)
    currency: str = "USD"
    ltv_minor: int = 0
    order_count: int = 0
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    last_order_at: datetime | None = None
    events: tuple[Event, ...] = ()
    segments: frozenset[str] = frozenset()
