"""The bytes of a body -> its envelope and its events' bytes, each event apart, also when a neighbour is broken."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from cdp_ingest.halves import Hidden, has_halves
from cdp_ingest.refusals import BATCH_TOO_LONG, BODY_UNREADABLE, EVENT_MALFORMED, TOO_DEEP, CallRefused, Fault
from cdp_ingest.salvage import salvage

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_ABSENT: Final = Raw(b"")


class Envelope(Struct, rename="camel", frozen=True, gc=False):
    """What a call says beside its events, as raw JSON; empty where it says nothing."""

    write_key: Raw = _ABSENT
    sent_at: Raw = _ABSENT
    context: Raw = _ABSENT
    integrations: Raw = _ABSENT


class _Batch(Envelope, rename="camel", frozen=True, gc=False, kw_only=True):
    batch: list[Raw] | UnsetType = UNSET


class _SeedBatch(Envelope, rename="camel", frozen=True, gc=False, kw_only=True):
    events: list[Raw] | UnsetType = UNSET


class Broken(NamedTuple):
    """A piece of a batch that is no JSON, or beyond its limit, as it came."""

    raw: bytes
    fault: Fault


class Call(NamedTuple):
    """One body: the envelope, the events as bytes in their order, and the pieces that could not be read."""

    envelope: Envelope
    events: Sequence[bytes]
    broken: Sequence[Broken] = ()
    is_batch: bool = False


_envelope_decoder: Final = msgspec.json.Decoder(Envelope)
_batch_decoder: Final = msgspec.json.Decoder(_Batch)
_seed_decoder: Final = msgspec.json.Decoder(_SeedBatch)
_list_decoder: Final = msgspec.json.Decoder(list[Raw])
_text_decoder: Final = msgspec.json.Decoder(str)
_EMPTY: Final = Envelope()


def read_single(body: bytes) -> Call:
    """One event, which is its own envelope. Raises CallRefused when it is no JSON object."""
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        return Call(_envelope_decoder.decode(body), (body,))
    except RecursionError:
        return Call(_EMPTY, (), (Broken(body, Fault(TOO_DEEP)),))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        if has_halves(body):
            return _with_halves(body, read_single)
        raise CallRefused(BODY_UNREADABLE, f"{error}.") from error


def read_batch(body: bytes, limit: int) -> Call:
    """``{"batch": [...]}``, a bare array, or one event; broken events are set apart from their neighbours.

    Events beyond ``limit`` are broken too. Raises CallRefused when nothing of the body can be used.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        return _read(body, limit)
    except msgspec.ValidationError as error:
        raise CallRefused(BODY_UNREADABLE, f"{error}.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        if has_halves(body):
            return _with_halves(body, lambda hidden: read_batch(hidden, limit))
        return _salvaged(body, limit, error)


def read_seed_batch(body: bytes, limit: int) -> Call:
    """``{"events": [...]}``. Raises CallRefused."""
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        found = _seed_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        if has_halves(body):
            return _with_halves(body, lambda hidden: read_seed_batch(hidden, limit))
        raise CallRefused(BODY_UNREADABLE, f"{error}.") from error
    if isinstance(found.events, UnsetType):
        raise CallRefused(BODY_UNREADABLE, "It has no array `events`.", "events")
    return _cut(found, [bytes(raw) for raw in found.events], limit)


def text_of(raw: Raw) -> str | None:
    """The string in a raw field; None when it is absent, blank or something else."""
    try:
        return _text_decoder.decode(raw).strip() or None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def write_key_in(call: Call) -> str | None:
    """The write key of the body: the envelope's, else the first event's."""
    key = text_of(call.envelope.write_key)
    if key is None and call.events:
        try:
            key = text_of(read_single(call.events[0]).envelope.write_key)
        except CallRefused:
            return None
    return key


def _read(body: bytes, limit: int) -> Call:
    if body[:1] == b"[" or body.lstrip()[:1] == b"[":
        return _cut(_EMPTY, [bytes(raw) for raw in _list_decoder.decode(body)], limit)
    found = _batch_decoder.decode(body)
    if isinstance(found.batch, UnsetType):
        return Call(found, (body,))
    return _cut(found, [bytes(raw) for raw in found.batch], limit)


def _with_halves(body: bytes, read: Callable[[bytes], Call]) -> Call:
    """What ``read`` cuts out of a body with halves of surrogate pairs: those events are left to their judge."""
    hidden = Hidden(body)
    call = read(hidden.body)
    said = call.envelope
    beside = (said.write_key, said.sent_at, said.context, said.integrations)
    return Call(
        Envelope(*(Raw(hidden.restored(bytes(raw))) for raw in beside)),
        [hidden.restored(raw) for raw in call.events],
        [Broken(hidden.restored(raw), fault) for raw, fault in call.broken],
        call.is_batch,
    )


def _cut(envelope: Envelope, events: list[bytes], limit: int) -> Call:
    if len(events) <= limit:
        return Call(envelope, events, is_batch=True)
    fault = Fault(BATCH_TOO_LONG, "batch", f"It holds {len(events)}, the limit is {limit}.")
    return Call(envelope, events[:limit], _bounded([Broken(raw, fault) for raw in events[limit:]], limit), True)


def _bounded(broken: list[Broken], limit: int) -> list[Broken]:
    """What goes beyond ``limit`` pieces is one: each becomes a message, a hundred times as large as the smallest."""
    rest = broken[limit:]
    if not rest:
        return broken
    return [*broken[:limit], Broken(b",".join([piece.raw for piece in rest]), rest[0].fault)]


def _salvaged(body: bytes, limit: int, error: BaseException) -> Call:
    """Each event of a body that is no JSON as a whole; the pieces that are none become broken ones."""
    events: list[bytes] = []
    broken: list[Broken] = []
    found = salvage(body)
    for piece in found.pieces:
        try:
            _envelope_decoder.decode(piece)
        except RecursionError:
            broken.append(Broken(piece, Fault(TOO_DEEP)))
        except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
            broken.append(Broken(piece, Fault(EVENT_MALFORMED, detail=f"{fault}.")))
        else:
            events.append(piece)
    if not events:
        raise CallRefused(BODY_UNREADABLE, f"{error}.") from error
    envelope = Envelope(write_key=Raw(found.write_key), sent_at=Raw(found.sent_at))
    call = _cut(envelope, events, limit)
    return call._replace(broken=_bounded([*broken, *call.broken], limit))
