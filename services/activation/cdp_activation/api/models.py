"""The bodies of the API: audiences, destinations, suppressions, as clients see them."""

from datetime import datetime
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import ConfigDict, Field, StringConstraints

from cdp_activation.destinations.destination import FieldType
from cdp_runtime.envelope import Wire

T = TypeVar("T")
SettingValue = str | int | bool | list[str]
Settings = dict[str, SettingValue]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}$")]
State = Literal["inactive", "syncing", "in_step", "replacing", "resting", "paused"]

AUDIENCE_EXAMPLE: Final[dict[str, Any]] = {
    "name": "Facebook Retargeting Audience",
    "description": "High-intent visitors for retargeting",
    "segmentIds": ["segment-123", "segment-456"],
    "platforms": ["facebook"],
    "config": {"facebook": {"customAudienceId": "12345678", "adAccountId": "act_123456"}},
}
DESTINATION_EXAMPLE: Final[dict[str, Any]] = {
    "name": "Facebook, EU account",
    "type": "facebook_custom_audiences",
    "settings": {"adAccountId": "act_123456", "consentPurposes": ["tracking"]},
    "credentials": {"accessToken": "EAAB..."},
}
WEBHOOK_EXAMPLE: Final[dict[str, Any]] = {
    "name": "Our loyalty system",
    "type": "webhook",
    "settings": {"url": "https://hooks.example.com/audiences", "fields": ["userId", "email"]},
    "credentials": {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
}


class Listed(Wire, Generic[T]):
    """One page. ``nextCursor`` is null on the last."""

    items: list[T]
    total: int
    next_cursor: str | None = None


class ConnectionDraft(Wire):
    """One audience at one destination."""

    destination_id: Id
    settings: Settings = Field(default_factory=dict, description="what the catalog lists under audienceSettings")


class AudienceDraftBody(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [AUDIENCE_EXAMPLE]})

    name: Name
    description: str = Field("", max_length=2000)
    segment_ids: list[Id] = Field(min_length=1, max_length=50)
    platforms: list[str] = Field(
        default_factory=list, max_length=20, description="the workspace's one destination of each"
    )
    config: dict[str, Settings] = Field(default_factory=dict, description="settings by platform")
    connections: list[ConnectionDraft] = Field(default_factory=list, max_length=20)


class ConnectionView(Wire):
    destination_id: str
    destination_name: str
    type: str
    platform: str | None
    settings: Settings
    active: bool
    state: State
    reason: str | None = Field(None, description="why it does not flow, and what to do")


class AudienceView(Wire):
    id: str = Field(examples=["audience-5f0c1b2a"])
    name: str
    description: str
    segment_ids: list[str]
    platforms: list[str]
    config: dict[str, Settings]
    members: int = Field(
        description="profiles in any of its segments now, of 10,000 and more as counted about every minute; "
        "of a segment new to audiences after seconds"
    )
    connections: list[ConnectionView]
    created_at: datetime
    updated_at: datetime


class ActivationBody(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [{"platform": "facebook", "operation": "add"}]})

    operation: Literal["add", "remove", "replace"] = Field(
        "add",
        description="add: keep the audience there in step; remove: take every member off and stop; "
        "replace: make the audience there exactly this one, then keep it in step",
    )
    platform: str | None = None
    destination_id: Id | None = None
    confirm: bool = Field(False, description="let an unusually large removal pass")


class PauseBody(Wire):
    platform: str | None = None
    destination_id: Id | None = None


class FailureView(Wire):
    outcome: str
    reason: str | None
    count: int


class DestinationStatus(Wire):
    """How one destination's copy of the audience does."""

    destination_id: str
    name: str
    type: str
    platform: str | None
    active: bool
    state: State
    reason: str | None
    desired: int = Field(description="members that should be there")
    acknowledged: int = Field(description="members that the destination confirmed")
    pending: int = Field(description="members still to be sent or removed")
    failed: list[FailureView] = Field(description="members that were refused, by reason")
    held: dict[str, int] = Field(description="members that may not be sent: suppressed, no_consent, unmatched")
    oldest_pending_at: datetime | None
    replaced_at: datetime | None
    replace_error: str | None


class AudienceStatus(Wire):
    id: str
    members: int
    destinations: list[DestinationStatus]


class DeliveryView(Wire):
    profile_id: str
    destination_id: str
    desired: bool
    acknowledged: bool
    pending: bool
    outcome: str | None
    error: str | None
    attempts: int
    next_attempt_at: datetime | None
    changed_at: datetime
    acknowledged_at: datetime | None


class DeliveryPage(Wire):
    items: list[DeliveryView]
    next_cursor: str | None = None


class OverlapView(Wire):
    audience_id: str
    compare_with: str
    size: int
    compare_size: int
    overlap: int
    overlap_percentage: float = Field(description="of the smaller of the two")
    union: int


class FieldView(Wire):
    name: str
    label: str
    type: FieldType
    help: str
    required: bool
    default: SettingValue | None
    choices: list[str]


class CatalogEntryView(Wire):
    type: str
    name: str
    platform: str
    description: str
    operations: list[str]
    api_version: str | None
    max_rows: int
    settings: list[FieldView]
    credentials: list[FieldView]
    audience_settings: list[FieldView]


class DestinationDraftBody(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [DESTINATION_EXAMPLE, WEBHOOK_EXAMPLE]})

    name: Name
    type: str
    settings: Settings = Field(default_factory=dict)
    credentials: dict[str, str] = Field(default_factory=dict, description="write-only: never part of an answer")
    enabled: bool = True


class DestinationChangeBody(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [{"credentials": {"accessToken": "EAAB..."}}]})

    name: Name | None = None
    settings: Settings | None = Field(
        None, description="replaces the settings as a whole; another address asks for the credentials again"
    )
    credentials: dict[str, str] | None = Field(None, description="replaces the credentials as a whole")
    enabled: bool | None = None


class DestinationView(Wire):
    id: str = Field(examples=["destination-9a1b2c3d"])
    name: str
    type: str
    settings: Settings
    credentials_set: list[str] = Field(description="the names of the credentials that are kept, never their values")
    enabled: bool
    state: Literal["ready", "off", "paused", "throttled", "resting"]
    reason: str | None
    retry_at: datetime | None = Field(None, description="when calls go on after a rest")
    created_at: datetime
    updated_at: datetime


class TestAnswer(Wire):
    __test__ = False

    ok: bool
    outcome: Literal["ok", "unauthorized", "misconfigured", "throttled", "unavailable", "refused"]
    message: str
    took_ms: int


class Deleted(Wire):
    id: str
    deleted: Literal[True] = True


class SuppressionBody(Wire):
    model_config = ConfigDict(json_schema_extra={"examples": [{"kind": "email", "value": "ada@example.com"}]})

    kind: Literal["profile_id", "user_id", "anonymous_id", "email", "phone", "device_id"]
    value: str = Field(min_length=1, max_length=500)
    destination_id: Id | None = Field(None, description="only there; everywhere when it is left out")
    reason: str = Field("", max_length=500)


class SuppressionView(Wire):
    id: str
    kind: str
    hint: str = Field(examples=["a…@e…"], description="enough to recognise the value, not to read it")
    destination_id: str | None
    reason: str
    created_at: datetime
