"""A received event -> what it states: whose it is, who that is, traits, consent, an order; or why it states nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

import msgspec

from cdp_identity import consent, orders
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
from cdp_schemas.profiles import TRAIT_NAME, TRAITS_TAKEN, parse_profile_ref

# the identifier whose node an event stays with: the first of these that it has, then by rank; of what the API says of
# a profile, the profile's
_STAYS: Final = {USER_ID: 0, PROFILE_ID: 1, ANONYMOUS_ID: 2}
_MAX_PURPOSES: Final = 500


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


class Statement(msgspec.Struct, frozen=True, gc=False):
    """What one event states. ``identifiers`` begins with the one whose node the event stays with.

    ``moment`` is the event's time and ``arrived`` its arrival, in µs. ``emitter`` is the device or server that speaks.
    """

    event: ReceivedEvent
    identifiers: tuple[Identifier, ...]
    moment: int
    arrived: int
    emitter: int = EXPLICIT
    traits: dict[str, Any] = msgspec.field(default_factory=dict)
    consent: dict[str, bool] = msgspec.field(default_factory=dict)
    order: OrderEvent | None = None

    @property
    def node(self) -> UUID:
        return self.identifiers[0].node_id


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
    return Statement(
        event,
        found,
        moment,
        to_micros(event.received_at),
        emitter_of(event, found),
        _traits(event, context, traits),
        _consent(event, context),
        _order(event, found[0], moment, reading.currency),
    )


def emitter_of(event: ReceivedEvent, found: tuple[Identifier, ...]) -> int:
    """Who speaks: one device's SDK, one server, or (0) somebody who means each statement."""
    if event.channel == "api":
        return EXPLICIT
    device = ""
    for one in found:
        if one.kind == ANONYMOUS_ID:
            device = one.value
            break
        if one.kind == DEVICE_ID:
            device = device or one.value
    return _emitter(event.source_id, device)


@lru_cache(maxsize=32768)
def _emitter(source_id: str, device: str) -> int:
    return int.from_bytes(blake2b(f"{source_id}\x1f{device}".encode(), digest_size=6).digest(), "big") or 1


def _identifiers(
    event: ReceivedEvent, context: _Context, traits: dict[str, Any], spelling: Spelling
) -> tuple[Identifier, ...]:
    named: list[Identifier] = []
    for kind, value in _named(event, context, traits):
        one = identifier(event.workspace_id, kind, value, spelling) if value is not None else None
        if one is not None and one not in named:
            named.append(one)
    about = None if event.profile_id is None else _reference(event.profile_id)
    if about is not None and all(one.node_id != about.node_id for one in named):
        named.append(about)
    if not named:
        raise Unusable("no_identifier", "the event has no identifier that means somebody", "userId")
    if len(named) > 1:
        # a change of a profile is its own, also where it names identifiers that turn out to be somebody else's
        home = about.node_id if about is not None and event.channel == "api" else None
        named.sort(key=lambda one: (one.node_id != home, _STAYS.get(one.kind, 3), rank(one.kind), one.node_id))
    return tuple(named)


def _named(event: ReceivedEvent, context: _Context, traits: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """(kind, value) of everything in the event that may say who it is."""
    yield USER_ID, event.user_id
    yield ANONYMOUS_ID, event.anonymous_id
    yield DEVICE_ID, event.device_id
    yield ANONYMOUS_ID, event.previous_id
    if isinstance(context.device, dict):
        yield DEVICE_ID, context.device.get("id")
    # a group's traits are the company's; its email is nobody's
    if traits and event.type != "group":
        yield EMAIL, traits.get("email")
        yield PHONE, traits.get("phone")
    if isinstance(context.traits, dict):
        yield EMAIL, context.traits.get("email")
        yield PHONE, context.traits.get("phone")
    if context.external_ids is not None:
        yield from external_ids(context.external_ids)


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
    return {name: value for name, value in list(said.items())[:TRAITS_TAKEN] if 0 < len(name) <= TRAIT_NAME}


def _consent(event: ReceivedEvent, context: _Context) -> dict[str, bool]:
    if context.consent is None and context.consent_management is None:
        carried: dict[str, bool] = {}
    else:
        carried = preferences(context.consent, context.consent_management)
    if event.type != "consent":
        return consent.strictest(carried, _MAX_PURPOSES)
    said: dict[str, bool] = _decode(_object_decoder, event.properties, "properties")
    for purpose, allowed in said.items():
        if not isinstance(allowed, bool):
            raise Unusable("bad_consent", "a purpose is allowed (true) or not (false)", f"properties.{purpose}")
    return consent.strictest(carried | said, _MAX_PURPOSES)


def _order(event: ReceivedEvent, first: Identifier, moment: int, currency: str) -> OrderEvent | None:
    if event.type != "track" or event.event is None or not orders.is_about_an_order(event.event):
        return None
    place = Place(rank(first.kind), moment, event.message_id, first.node_id)
    return orders.read(event.event, _decode(_object_decoder, event.properties, "properties"), place, currency)


def _decode(decoder: msgspec.json.Decoder[Any], raw: msgspec.Raw, path: str) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unusable("bad_json", str(error), path) from error
