"""The graph of a profile and its consent as the API answers them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from cdp_identity.golden import from_micros
from cdp_identity.rows import ConsentEntry, LinkRow, NodeRow
from cdp_identity.shapes import Profile, mask
from cdp_runtime.envelope import Wire
from cdp_schemas.consent import PURPOSE_NAME, PURPOSES_KEPT
from cdp_schemas.profiles import ProfileUpdated, profile_ref

_STATUS = {"h": "held", "r": "refused", "v": "revoked"}


class Deleted(Wire):
    """What was erased."""

    id: str
    deleted: bool = True


class ProfilePage(Wire):
    """One page of a search. ``cursor`` is None on the last one."""

    profiles: list[Profile]
    total: int = Field(description="how many there are on all pages")
    total_is_exact: bool = Field(
        description="false for an estimate, right to within about a seventh: of more than 10,000, and of more than "
        "some hundreds where there are more than 100,000 profiles"
    )
    limit: int
    cursor: str | None


class Node(Wire):
    """One identifier of a profile."""

    id: str
    kind: str
    value: str
    first_seen: datetime
    last_seen: datetime | None
    is_canonical: bool


class LinkShown(Wire):
    """Two identifiers, the event that is the evidence of their link, and whether it holds."""

    nodes: list[str]
    status: str
    reason: str | None
    at: datetime
    message_id: str
    source_id: str


class Graph(Wire):
    """Why these identifiers are one profile."""

    id: str
    nodes: list[Node]
    links: list[LinkShown]


class ConsentBody(Wire):
    """``profileId`` (or kind:value) and one true or false per purpose."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"profileId": "email:ada@example.org", "email": True}]}
    )

    profile_id: str = Field(max_length=600)

    @model_validator(mode="after")
    def _only_answers(self) -> "ConsentBody":
        said = self.__pydantic_extra__ or {}
        if not said:
            raise ValueError("name at least one purpose, for example email")
        if len(said) > PURPOSES_KEPT:
            raise ValueError(f"a profile has at most {PURPOSES_KEPT} purposes")
        for purpose, granted in said.items():
            if not isinstance(granted, bool):
                raise ValueError(f"{purpose} must be true or false")
            if not 0 < len(purpose) <= PURPOSE_NAME:
                raise ValueError(f"the name of a purpose has 1 to {PURPOSE_NAME} characters")
        return self

    def purposes(self) -> dict[str, bool]:
        return dict(self.__pydantic_extra__ or {})


class ConsentLine(Wire):
    """One statement about one purpose."""

    purpose: str
    granted: bool
    at: datetime
    message_id: str
    source_id: str


class ConsentState(Wire):
    """What is allowed; a purpose that is missing is not."""

    profile_id: str
    consent: dict[str, bool]
    updated_at: datetime | None
    history: list[ConsentLine]


def graph(
    profile: UUID,
    nodes: Sequence[NodeRow],
    links: Sequence[LinkRow],
    strangers: Mapping[UUID, NodeRow],
    *,
    sees_pii: bool,
) -> Graph:
    """The answer; ``strangers`` are nodes of other profiles that a refused link names."""
    known = {**strangers, **{node.node_id: node for node in nodes}}

    def value(node: NodeRow) -> str:
        return node.value if sees_pii else mask(node.value)

    def name(node: UUID) -> str:
        row = known.get(node)
        return profile_ref(node) if row is None or not row.is_live else f"{row.kind}:{value(row)}"

    return Graph(
        id=profile_ref(profile),
        nodes=[
            Node(
                id=profile_ref(node.node_id),
                kind=node.kind,
                value=value(node),
                first_seen=from_micros(node.first_seen),
                last_seen=None if node.last_seen is None else from_micros(node.last_seen),
                is_canonical=node.node_id == profile,
            )
            for node in sorted(nodes, key=lambda one: (one.kind, one.value))
        ],
        links=[
            LinkShown(
                nodes=[name(end) for end in row.link.pair],
                status=_STATUS[row.status],
                reason=row.reason,
                at=from_micros(row.link.moment),
                message_id=row.link.message_id,
                source_id=row.source_id,
            )
            for row in links
        ],
    )


def consent_state(record: ProfileUpdated, history: Sequence[ConsentEntry]) -> ConsentState:
    lines: list[Any] = [
        ConsentLine(
            purpose=entry.purpose,
            granted=entry.granted,
            at=entry.at,
            message_id=entry.message_id,
            source_id=entry.source_id,
        )
        for entry in history
    ]
    return ConsentState(
        profile_id=profile_ref(record.profile_id),
        consent=record.consent,
        updated_at=record.consent_at,
        history=lines,
    )
