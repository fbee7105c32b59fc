"""The protocol of a destination: profiles -> cells, batches -> HTTP requests, HTTP responses -> outcomes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol
from uuid import UUID

from cdp_activation.outcome import CallOutcome
from cdp_activation.profile import Profile

Operation = Literal["add", "remove", "replace"]
FieldType = Literal["text", "secret", "url", "integer", "boolean", "list", "choice"]
SettingValue = str | int | bool | list[str]
Cells = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SettingField:
    """One setting of a destination, enough to draw a form and to check what was entered."""

    name: str
    label: str
    type: FieldType
    help: str
    required: bool = False
    default: SettingValue | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """What the catalog says of a type of destination. ``audience`` are the settings of one audience there.

    ``replace_window`` is how long a replacement may take there, and nothing else is taken for its audience meanwhile;
    None where it may take as long as it likes, beside other calls.
    """

    type: str
    name: str
    platform: str
    description: str
    settings: tuple[SettingField, ...]
    credentials: tuple[SettingField, ...]
    audience: tuple[SettingField, ...]
    operations: tuple[Operation, ...]
    max_rows: int
    requests_per_second: float
    default_purposes: tuple[str, ...]
    replace_window: timedelta | None = None
    api_version: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """The checked settings and opened credentials of one destination, and the settings of one audience there."""

    settings: Mapping[str, Any]
    credentials: Mapping[str, Any]
    audience: Mapping[str, Any] = field(default_factory=dict)
    phone_region: str = "US"


@dataclass(frozen=True, slots=True)
class Row:
    """One member of one call, whole: its place in the call, who it is, and its cells as the destination sees them.

    ``sequence`` rises with every change of the member's desired state and makes equal calls recognisable.
    """

    index: int
    profile_id: UUID
    sequence: int
    cells: Cells


@dataclass(frozen=True, slots=True)
class Session:
    """The place of a call within one replacement of a whole audience; ``page`` counts from 1."""

    session_id: int
    page: int
    last: bool
    total: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one call. All rows have the same cell names in the same order. ``as_of`` is their newest change."""

    workspace_id: str
    audience_id: str
    operation: Operation
    rows: Sequence[Row]
    as_of: datetime
    session: Session | None = None


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    timeout_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """Header names are in lower case; the body may have been cut at the size cap."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Destination(Protocol):
    """One type of destination. No method does IO; time comes as an argument."""

    @property
    def entry(self) -> CatalogEntry:
        """What the catalog says."""

    def cells(self, profile: Profile, config: Config) -> Cells | None:
        """The member as this destination sees it; None when it has no identifier that could match."""

    def match_values(self, cells: Cells) -> Sequence[str]:
        """The cells by which the destination recognises a person: removing any of them removes the person."""

    def build(self, batch: Batch, config: Config, now: datetime) -> HttpRequest:
        """The call. Built again from the same batch it has the same body."""

    def read(self, response: HttpResponse, batch: Batch, now: datetime) -> CallOutcome:
        """What the answer means, by its body first and its status second."""

    def probe(self, config: Config, now: datetime) -> HttpRequest:
        """A real call that proves the credentials and changes nothing."""

    def read_probe(self, response: HttpResponse, now: datetime) -> CallOutcome:
        """What the answer to the probe means."""
