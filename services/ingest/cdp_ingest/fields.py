"""One event's bytes -> the fields that the gateway reads of it, typed; the rest stays raw."""

from typing import Final

import msgspec
from msgspec import Raw, Struct

from cdp_ingest.refusals import EVENT_MALFORMED, FIELD_INVALID, FIELD_TOO_LONG, Fault
from cdp_schemas.events import EMPTY_OBJECT

MAX_TEXT: Final = 512  # characters of an id or a name: what a store's index takes
ABSENT: Final = Raw(b"")
Scalar = str | int | float | None


class Fields(Struct, rename="camel", frozen=True, gc=False):
    """What is read of an event; fields that are not here are dropped. Ids may come as numbers."""

    type: str | None = None
    message_id: Scalar = None
    event: str | None = None
    user_id: Scalar = None
    anonymous_id: Scalar = None
    previous_id: Scalar = None
    group_id: Scalar = None
    profile_id: str | None = None
    device_id: Scalar = None
    session_id: Scalar = None
    timestamp: Scalar = None
    original_timestamp: Scalar = None
    sent_at: Raw = ABSENT
    name: Scalar = None
    category: Scalar = None
    properties: Raw = ABSENT
    traits: Raw = ABSENT
    context: Raw = ABSENT
    integrations: Raw = ABSENT


class FaultyField(Exception):
    """An event cannot be taken because of one of its fields."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


_decoder: Final = msgspec.json.Decoder(Fields)


def read_fields(raw: bytes) -> Fields:
    """Raises FaultyField with the path of the fault."""
    try:
        return _decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise FaultyField(field_fault(error)) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FaultyField(Fault(EVENT_MALFORMED, detail=f"{error}.")) from error


def field_fault(error: msgspec.ValidationError) -> Fault:
    """msgspec's sentence, ``Expected `str`, got `int` - at `$.event```, as a fault with its path."""
    sentence, _, place = str(error).partition(" - at ")
    return Fault(FIELD_INVALID, place.strip("`").removeprefix("$").removeprefix("."), f"{sentence}.")


def identifier(value: Scalar, path: str) -> str | None:
    """An id as text; None when it is absent or blank. Raises FaultyField when it is too long."""
    if value is None:
        return None
    if type(value) is not str:
        assert not isinstance(value, str)
        return str(int(value)) if value == int(value) else str(value)
    if len(value) > MAX_TEXT:
        raise FaultyField(Fault(FIELD_TOO_LONG, path, f"It has {len(value)} characters, the limit is {MAX_TEXT}."))
    return value if value and not value.isspace() else None


def json_object(raw: Raw, path: str) -> Raw:
    """The object, as it came; ``EMPTY_OBJECT`` when it is absent or null. Raises FaultyField for anything else."""
    if raw is ABSENT:
        return EMPTY_OBJECT
    data = bytes(raw)
    if data[:1] == b"{":
        return raw
    if not data or data == b"null":
        return EMPTY_OBJECT
    raise FaultyField(Fault(FIELD_INVALID, path, "Expected an object."))
