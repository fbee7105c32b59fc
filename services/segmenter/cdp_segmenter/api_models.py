"""The bodies and answers of the segments API."""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from cdp_runtime.envelope import Wire
from cdp_schemas.profiles import profile_ref
from cdp_segmenter.catalogue import Segment
from cdp_segmenter.definitions import BY_HAND, rule_of
from cdp_segmenter.desk import Preview
from cdp_segmenter.explain import Explanation
from cdp_segmenter.rules.check import InvalidRule
from cdp_segmenter.rules.describe import describe

T = TypeVar("T")
_HIGH_VALUE: dict[str, Any] = {
    "operator": "AND",
    "conditions": [
        {"field": "computed.ltv", "operator": ">", "value": 1000},
        {"event": "purchase", "count": {"min": 3}, "timeWindow": "P90D"},
    ],
}
Rules = Annotated[
    dict[str, Any] | None,
    Field(
        description=(
            "A group `{operator: AND|OR|NOT, conditions: [...]}` of conditions `{field, operator, value}`, "
            "`{event, count|sum|first|last, timeWindow, filters}`, `{segment}` and groups; or one condition. "
            "Null for a manual segment."
        ),
        examples=[_HIGH_VALUE],
    ),
]
SegmentKind = Annotated[
    str, Field(description="rule-based, behavioral or manual", examples=["rule-based"], max_length=50)
]


class SegmentBody(Wire):
    """What the owner of a segment writes."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        json_schema_extra={
            "example": {
                "name": "High value",
                "description": "Spent more than 1,000 and bought three times in 90 days",
                "type": "rule-based",
                "rules": _HIGH_VALUE,
            }
        },
    )
    name: str = Field(min_length=1, max_length=200, examples=["High value"])
    description: str = Field("", max_length=2000)
    type: SegmentKind = "rule-based"
    rules: Rules = None


class PreviewBody(Wire):
    """A rule to try; nothing is stored."""

    type: SegmentKind = "rule-based"
    rules: Rules = None
    sample: int = Field(10, ge=0, le=100, description="how many of the profiles to name")


class MembersBody(Wire):
    """Profiles by id or `kind:value`."""

    profile_ids: list[Annotated[str, Field(min_length=1, max_length=500)]] = Field(
        min_length=1, max_length=1000, examples=[["profile-0f5a2b1c9d8e4f7a8b6c5d4e3f2a1b0c", "email:ada@example.com"]]
    )


class SegmentView(Wire):
    """One segment. While `status` is `building`, `progress` goes from 0 to 1 and `size` is on its way."""

    id: str = Field(examples=["segment-5f0c1b2a9d8e4f7a"])
    name: str
    description: str
    type: str
    rules: Rules
    english: str = Field(description="the rule in words", examples=["computed.ltv is more than 1,000"])
    version: int = Field(description="rises with every change of the rules")
    status: Literal["building", "ready"]
    progress: float = Field(ge=0, le=1)
    size: int = Field(description="members now")
    created_at: datetime
    updated_at: datetime
    evaluated_at: datetime | None = Field(description="when every profile was looked at last")


class SizeView(Wire):
    """How many members a segment has now."""

    id: str
    size: int
    status: Literal["building", "ready"]
    progress: float


class MemberView(Wire):
    """One member; `profile` only when asked for."""

    id: str = Field(examples=["profile-0f5a2b1c9d8e4f7a8b6c5d4e3f2a1b0c"])
    entered_at: datetime
    profile: dict[str, Any] | None = Field(None, description="as GET /profiles/{id} shows it, without its segments")


class Listed(Wire, Generic[T]):
    """One page. `nextCursor` is null on the last."""

    items: list[T]
    total: int
    next_cursor: str | None = None


class PreviewView(Wire):
    """Who would be a member now."""

    size: int = Field(examples=[1284])
    sample: list[str] = Field(description="some of the profiles")
    english: str


class ExplanationView(Wire):
    """One condition: its words, whether it holds, what was seen; a group has conditions of its own.

    Without the scope `profiles:pii` what was seen of attributes and identifiers is `***`.
    """

    english: str = Field(examples=["computed.ltv is more than 1,000"])
    holds: bool
    seen: str | None = Field(examples=["1,284.5"])
    conditions: list["ExplanationView"] = Field(default_factory=list)


class ExplainView(Wire):
    """Why a profile is a member or not. `member` is the ledger's word, `holds` what the facts say this moment."""

    segment_id: str
    profile_id: str
    member: bool
    holds: bool
    because: ExplanationView


class ProfileSegment(Wire):
    """One segment that a profile is in."""

    id: str
    name: str
    entered_at: datetime


class Deleted(Wire):
    id: str
    deleted: Literal[True] = True


def segment_view(segment: Segment) -> SegmentView:
    return SegmentView(
        id=segment.segment_id,
        name=segment.draft.name,
        description=segment.draft.description,
        type=segment.draft.type,
        rules=segment.draft.rules,
        english=_english(segment),
        version=segment.version,
        status=segment.status,
        progress=round(segment.progress, 3),
        size=segment.size,
        created_at=segment.created_at,
        updated_at=segment.updated_at,
        evaluated_at=segment.evaluated_at,
    )


def preview_view(preview: Preview) -> PreviewView:
    return PreviewView(size=preview.size, sample=[profile_ref(one) for one in preview.sample], english=preview.english)


def explanation_view(explanation: Explanation, *, sees_pii: bool) -> ExplanationView:
    inside = [explanation_view(one, sees_pii=sees_pii) for one in explanation.inside]
    seen = explanation.seen if sees_pii or not explanation.is_personal else "***"
    return ExplanationView(english=explanation.description, holds=explanation.holds, seen=seen, conditions=inside)


def _english(segment: Segment) -> str:
    try:
        rule = rule_of(segment.draft.type, segment.draft.rules, is_stored=True)
    except InvalidRule:
        return "a rule that this release cannot read"
    return describe(rule) if rule is not None else BY_HAND
