"""A received event -> what it states: whose it is, who that is, traits, consent, an order; or why it states nothing."""

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

import msgspec

from cdp_identity import orders
from cdp_identity.golden import to_micros
from cdp_identity.graph import rank
from cdp_identity.identifiers import (
    ANONYMOUS_ID,
    DEVICE_ID,
    EMAIL,
    PHONE,
    PROFILE_ID,
    USER_ID,
    Identifier,
    Spelling,
    external_ids,
    identifier,
)
from cdp_identity.orders import OrderEvent, Place
from cdp_identity.traits import EXPLICIT
from cdp_schemas.consent import preferences
from cdp_schemas.events import ReceivedEvent
from cdp_schemas.profiles import parse_profile_ref

# the identifier whose node an event stays with: the first of these that it has, then by rank
_STAYS: Final = {USER_ID: 0, PROFILE_ID: 1, ANONYMOUS_ID: 2}
_MAX_TRAITS: Final = 500


class Unusable(ValueError):
    """An event that can never be resolved as it is: quarantine it. ``path`` says where the fault is."""

    def __init__(self, reason: str, detail: str, path: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail, self.path = reason, detail, path


@dataclass(frozen=True, slots=True)
class Reading:
    """How events are read: spelling of identifiers, currency of amounts that name none."""

    spelling: Spelling = field(default_factory=Spelling)
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class Statement:
    """What one event states. ``identifiers`` begins with the one whose node the event stays with.

    ``moment`` is the event's time and ``arrived`` its arrival, in µs. ``emitter`` is the device or server that speaks.
    """

    event: ReceivedEvent
    identifiers: tuple[Identifier, ...]
    moment: int
    arrived: int
    emitter: int = EXPLICIT
    traits: dict[str, Any] = field(default_factory=dict)
    consent: dict[str, bool] = field(default_factory=dict)
    order: OrderEvent | None = None

    @property
    def node(self) -> UUID:
        return self.identifiers[0].node_id

    @property
    def is_reference(self) -> bool:
        """Whether the event names a profile by its id, which must exist already."""
        return self.identifiers[0].kind == PROFILE_ID


class _Context(msgspec.Struct, rename="camel"):
    """What of ``context`` says who it is; the rest is not even decoded."""

    traits: Any = None
    device: Any = None
    external_ids: Any = None
    consent: Any = None
    consent_management: Any = None


_context_decoder = msgspec.json.Decoder(_Context)
_object_decoder = msgspec.json.Decoder(dict[str, Any])


def read(event: ReceivedEvent, reading: Reading) -> Statement:
    """What an event states. Raises Unusable."""
    context = _decode(_context_decoder, event.context, "context")
    traits = _decode(_object_decoder, event.traits, "traits")
    found = _identifiers(event, context, traits, reading.spelling)
    moment = to_micros(event.timestamp)
    first = found[0]
    place = Place(rank(first.kind), moment, event.message_id, first.node_id)
    return Statement(
        event,
        found,
        moment,
        to_micros(event.received_at),
        emitter_of(event, found),
        _traits(event, context, traits),
        _consent(event, context),
        _order(event, place, reading.currency),
    )


def emitter_of(event: ReceivedEvent, found: tuple[Identifier, ...]) -> int:
    """Who speaks: one device's SDK, one server, or (0) somebody who means each statement."""
    if event.channel == "api":
        return EXPLICIT
    devices = {one.kind: one.value for one in reversed(found)}
    return _emitter(event.source_id, devices.get(ANONYMOUS_ID) or devices.get(DEVICE_ID, ""))


@lru_cache(maxsize=32768)
def _emitter(source_id: str, device: str) -> int:
    return int.from_bytes(blake2b(f"{source_id}\x1f{device}".encode(), digest_size=6).digest(), "big") or 1


def _identifiers(
    event: ReceivedEvent, context: _Context, traits: dict[str, Any], spelling: Spelling
) -> tuple[Identifier, ...]:
    found: dict[UUID, Identifier] = {}
    for kind, value in _named(event, context, traits):
        one = identifier(event.workspace_id, kind, value, spelling) if value is not None else None
        if one is not None:
            found.setdefault(one.node_id, one)
    named = list(found.values())
    if event.profile_id is not None:
        named.append(_reference(event.profile_id))
    if not named:
        raise Unusable("no_identifier", "the event has no identifier that means somebody", "userId")
    if len(named) > 1:
        named.sort(key=lambda one: (_STAYS.get(one.kind, 3), rank(one.kind), one.node_id))
    return tuple(named)


def _named(event: ReceivedEvent, context: _Context, traits: dict[str, Any]) -> list[tuple[str, Any]]:
    """(kind, value) of everything in the event that may say who it is."""
    named: list[tuple[str, Any]] = [
        (USER_ID, event.user_id),
        (ANONYMOUS_ID, event.anonymous_id),
        (DEVICE_ID, event.device_id),
    ]
    if event.previous_id is not None:
        named.append((ANONYMOUS_ID, event.previous_id))
    if isinstance(context.device, dict):
        named.append((DEVICE_ID, context.device.get("id")))
    # a group's traits are the company's; its email is nobody's
    about = [traits] if event.type != "group" else []
    about += [context.traits] if isinstance(context.traits, dict) else []
    for said in about:
        named += [(EMAIL, said.get("email")), (PHONE, said.get("phone"))]
    if context.external_ids is not None:
        named += external_ids(context.external_ids)
    return named


def _reference(ref: str) -> Identifier:
    node = parse_profile_ref(ref)
    if node is None:
        raise Unusable(
            "bad_profile_id", f"{ref!r} is no profile id: they look like profile-<32 hex digits>", "profileId"
        )
    return Identifier(PROFILE_ID, ref, node)


def _traits(event: ReceivedEvent, context: _Context, traits: dict[str, Any]) -> dict[str, Any]:
    """Traits that an identify states; RudderStack's SDKs send them in the context."""
    if event.type != "identify":
        return {}
    said = {**context.traits, **traits} if isinstance(context.traits, dict) else traits
    return {name: value for name, value in list(said.items())[:_MAX_TRAITS] if 0 < len(name) <= 256}


def _consent(event: ReceivedEvent, context: _Context) -> dict[str, bool]:
    carried = preferences(context.consent, context.consent_management)
    if event.type != "consent":
        return carried
    said: dict[str, bool] = _decode(_object_decoder, event.properties, "properties")
    for purpose, allowed in said.items():
        if not isinstance(allowed, bool):
            raise Unusable("bad_consent", "a purpose is allowed (true) or not (false)", f"properties.{purpose}")
    return carried | said


def _order(event: ReceivedEvent, place: Place, currency: str) -> OrderEvent | None:
    if event.type != "track" or event.event is None or not orders.is_about_an_order(event.event):
        return None
    return orders.read(event.event, _decode(_object_decoder, event.properties, "properties"), place, currency)


def _decode(decoder: msgspec.json.Decoder[Any], raw: msgspec.Raw, path: str) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unusable("bad_json", str(error), path) from error
