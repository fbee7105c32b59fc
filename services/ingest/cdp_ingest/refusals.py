"""Every reason the gateway does not take something: its status, its metric label, its sentence."""

from dataclasses import dataclass
from typing import Final, NamedTuple


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason. ``status`` 200 means the call succeeds and the event goes to the dead-letter topic.

    ``retry_after`` is in whole seconds, for the reasons that pass by themselves.
    """

    label: str
    status: int
    sentence: str
    retry_after: int | None = None


class Fault(NamedTuple):
    """Why one event or call is refused, where in it, and what is wrong there."""

    refusal: Refusal
    path: str = ""
    detail: str = ""

    @property
    def message(self) -> str:
        """The sentence for the reader, with the detail where there is one."""
        return f"{self.refusal.sentence} {self.detail}".rstrip()


class CallRefused(Exception):
    """The whole call is answered with an error; nothing of it was accepted."""

    def __init__(self, refusal: Refusal, detail: str = "", path: str = "", *, retry_after: int | None = None) -> None:
        super().__init__(f"{refusal.sentence} {detail}".rstrip())
        self.refusal, self.path = refusal, path
        self.retry_after = refusal.retry_after if retry_after is None else retry_after


# The call. 404, 410, 413, 501, 505 and 511 are never used here: some SDK drops its queue or shuts down on each of them.
BODY_UNREADABLE: Final = Refusal("body_unreadable", 400, "The body is not a JSON object that can be read.")
BODY_TOO_LARGE: Final = Refusal("body_too_large", 400, "The body is larger than one call may be.")
BODY_ENCODING: Final = Refusal("body_encoding", 400, "The body's Content-Encoding is not what the body is.")
BODY_TIMEOUT: Final = Refusal("body_timeout", 408, "The body did not arrive in time.")
WRITE_KEY_MISSING: Final = Refusal("write_key_missing", 401, "There is no write key in this call.")
WRITE_KEY_UNKNOWN: Final = Refusal("write_key_unknown", 401, "No source has this write key.")
KEYS_GUESSED: Final = Refusal("keys_guessed", 429, "Too many unknown write keys come from this address.", 1)
UNKNOWN_KEYS_LIMITED: Final = Refusal("unknown_keys_limited", 429, "More comes with unknown keys than is kept.", 1)
SOURCE_DISABLED: Final = Refusal("source_disabled", 401, "The source of this write key is disabled.")
RATE_LIMITED: Final = Refusal("rate_limited", 429, "This source sends more events than its limit.", 1)
SOURCE_BUFFER_FULL: Final = Refusal("source_buffer_full", 429, "Too many bytes of this source are in flight.", 1)
BUFFER_FULL: Final = Refusal("buffer_full", 503, "Too many bytes are in flight in this gateway.", 1)
SOURCES_UNAVAILABLE: Final = Refusal("sources_unavailable", 503, "The write key cannot be looked up now.", 5)
LOG_UNAVAILABLE: Final = Refusal("log_unavailable", 503, "The event log does not take events now.", 5)

# The event: answered with success, kept in the dead-letter topic with its bytes.
EVENT_MALFORMED: Final = Refusal("event_malformed", 200, "The event is not a JSON object that can be read.")
EVENT_TOO_LARGE: Final = Refusal("event_too_large", 200, "The event is too large.")
BATCH_TOO_LONG: Final = Refusal("batch_too_long", 200, "The batch holds more events than a call may.")
TOO_DEEP: Final = Refusal("too_deep", 200, "The event is nested too deep.")
INVALID_UTF8: Final = Refusal("invalid_utf8", 200, "The event is not valid UTF-8.")
NUL_CHARACTER: Final = Refusal("nul_character", 200, "The event holds a NUL character, which no store can keep.")
LONE_SURROGATE: Final = Refusal("lone_surrogate", 200, "The event holds half of a UTF-16 surrogate pair.")
NUMBER_OUT_OF_RANGE: Final = Refusal("number_out_of_range", 200, "The event holds a number beyond 64 bits.")
FIELD_INVALID: Final = Refusal("field_invalid", 200, "A field of the event has the wrong type.")
FIELD_TOO_LONG: Final = Refusal("field_too_long", 200, "A field of the event is too long.")
TIMESTAMP_INVALID: Final = Refusal("timestamp_invalid", 200, "The event's time cannot be read.")
TYPE_UNKNOWN: Final = Refusal("type_unknown", 200, "The event's type is not a call that a source can make.")
EVENT_NAME_MISSING: Final = Refusal("event_name_missing", 200, "A track call needs the name of its event.")
IDENTITY_MISSING: Final = Refusal("identity_missing", 200, "The event names nobody: it needs a userId or anonymousId.")
CONSENT_MISSING: Final = Refusal("consent", 200, "The event lacks consent that its source needs to keep it.")

ALL: Final[tuple[Refusal, ...]] = tuple(value for value in list(globals().values()) if isinstance(value, Refusal))
