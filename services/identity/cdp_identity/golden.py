"""The nodes of one profile, its links and its revenue -> the golden record."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from cdp_identity import consent, traits
from cdp_identity.fold import NodeState
from cdp_identity.graph import Link, joined_at
from cdp_schemas.profiles import ProfileUpdated, Revenue

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_micros(at: datetime) -> int:
    """µs since 1970 of an aware time."""
    return (at - EPOCH) // _MICROSECOND


def from_micros(moment: int) -> datetime:
    return EPOCH + timedelta(microseconds=moment)


@dataclass(slots=True)
class Member:
    """One node of a profile. Times in µs; ``last_seen`` is None for a node that no event stayed with."""

    node_id: UUID
    kind: str
    value: str
    first_seen: int
    last_seen: int | None = None
    state: NodeState = field(default_factory=NodeState)


@dataclass(frozen=True, slots=True)
class Frame:
    """What a golden record has besides its fold; ``version`` and ``updated_at`` are set when it is written."""

    workspace_id: str
    profile_id: UUID
    created_at: datetime


def golden_record(frame: Frame, members: Sequence[Member], links: Iterable[Link], revenue: Revenue) -> ProfileUpdated:
    """The fold of the members; the order of members and links does not matter."""
    registers = traits.join_all(member.state.traits for member in members)
    spoken = {member.node_id: member.state.consent for member in members if member.state.consent}
    allowed = consent.read(spoken, joined_at(links if len(spoken) > 1 else ()))
    last = max((member.last_seen or member.first_seen for member in members), default=0)
    return ProfileUpdated(
        frame.workspace_id,
        frame.profile_id,
        0,
        frame.created_at,
        created_at=frame.created_at,
        first_seen=from_micros(min(member.first_seen for member in members)),
        last_seen=from_micros(last),
        identifiers=identifiers((one.kind, one.first_seen, one.value) for one in members),
        traits=traits.read(registers),
        consent=consent.strictest({purpose: answer.granted for purpose, answer in allowed.items()}),
        consent_at=from_micros(max(answer.since for answer in allowed.values())) if allowed else None,
        revenue=revenue,
    )


def identifiers(said: Iterable[tuple[str, Any, str]]) -> dict[str, list[str]]:
    """Kinds, first times and values -> kind -> values, in the order in which they were first seen."""
    found: dict[str, list[str]] = {}
    for kind, _, value in sorted(said):
        found.setdefault(kind, []).append(value)
    return found
