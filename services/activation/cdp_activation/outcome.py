"""What became of a delivery, named by who must act next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Delivered:
    """The destination has it. ``warning`` is what it said beside yes."""

    warning: str = ""


@dataclass(frozen=True, slots=True)
class Throttled:
    """The destination asked us to wait: no call before ``until``; no attempt is spent."""

    until: datetime
    reason: str = "throttled"


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The destination's own trouble: the same call may succeed later."""

    reason: str


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """This member will not be taken as it is: somebody must change the profile or the mapping."""

    reason: str


@dataclass(frozen=True, slots=True)
class RejectedBatch:
    """The whole call was refused for what it holds, without saying which row: look for it by halves."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unauthorized:
    """The credentials are dead: the destination rests until somebody enters others."""

    reason: str


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """The audience or account named in the settings is gone or forbidden: somebody must change the settings."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer after the call was sent: it may have arrived. Sets may simply be sent again."""

    reason: str


Outcome = Delivered | Throttled | RetryLater | RejectedRow | RejectedBatch | Unauthorized | Misconfigured | Unknown


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """One call's outcome: for the whole call, and by row index where a row fared otherwise.

    ``rest_until`` is a pause that a successful answer asked for.
    """

    whole: Outcome
    rows: Mapping[int, Outcome] = field(default_factory=dict)
    rest_until: datetime | None = None

    def of(self, index: int) -> Outcome:
        return self.rows.get(index, self.whole)
