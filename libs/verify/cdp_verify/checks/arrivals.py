"""Journal, event store, dead letters -> I1, I2, I3: each event where it must be, once, as it was sent."""

import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from cdp_runtime.parts import in_parts
from cdp_schemas.codec import Codec, InvalidMessage, encode
from cdp_schemas.event_names import event_name
from cdp_schemas.events import RefusedEvent
from cdp_schemas.nodes import node_id
from cdp_schemas.topics import EVENTS_RECEIVED_DLQ
from cdp_verify.buckets import SIZE, buckets_for, split
from cdp_verify.clocks import is_time_of
from cdp_verify.findings import DOUBLED, LOST, Finding, finding
from cdp_verify.journal import Answer, Entry, Journal
from cdp_verify.stores import LogReads, Stores
from cdp_verify.times import instant, ticks

_REFUSED: Final = Codec(RefusedEvent)
_STORED: Final = """
SELECT workspace_id, message_id, node_id, toUnixTimestamp64Milli(timestamp) AS at,
       toUnixTimestamp64Milli(received_at) AS received,
       MD5(concatWithSeparator('\\x1f', call, event, user_id, anonymous_id, properties, traits,
                               JSONExtractRaw(context, 'page'))) AS print
FROM events WHERE startsWith(message_id, {prefix:String}) AND CRC32(message_id) % {buckets:UInt32} = {bucket:UInt32}
"""
# who was said to be one person, and is not, although nothing refused or revoked it and neither was erased
_APART: Final = """
SELECT said.one, said.other FROM unnest(%(ones)s::uuid[], %(others)s::uuid[]) AS said(one, other)
LEFT JOIN identity.nodes AS n ON n.workspace_id = %(workspace)s AND n.node_id = said.one
LEFT JOIN identity.nodes AS m ON m.workspace_id = %(workspace)s AND m.node_id = said.other
LEFT JOIN identity.links AS l
    ON l.workspace_id = %(workspace)s AND l.a = least(said.one, said.other) AND l.b = greatest(said.one, said.other)
WHERE (n.profile_id IS NULL OR n.profile_id IS DISTINCT FROM m.profile_id)
  AND n.erased_at IS NULL AND m.erased_at IS NULL AND coalesce(l.status, 'h') = 'h'
"""
_ASKED: Final = 2000  # pairs at once
Key = tuple[str, str]  # workspace, message id


class _Named(msgspec.Struct, rename="camel"):
    message_id: str = ""


_ID: Final = msgspec.json.Decoder(_Named)


class Expected(NamedTuple):
    """What the journal says of one event. ``nodes``: whose it is, and whom it names besides; ``at`` in ms."""

    workspace_id: str
    message_id: str
    print: bytes
    answer: Answer
    tries: int
    is_faulty: bool
    nodes: Sequence[UUID] = ()
    at: int | None = None
    sent_at: Sequence[int] = ()


class Stored(NamedTuple):
    """What the store has of one event; times in ms."""

    print: bytes
    node: UUID
    at: int
    received: int


class Arrivals(NamedTuple):
    """The findings, and the message ids of unanswered events that did arrive: they count in every oracle."""

    findings: Sequence[Finding]
    arrived: frozenset[Key]


async def check_arrivals(stores: Stores, journal: Journal, *, bucket_size: int = SIZE) -> Arrivals:
    """Compares bucket by bucket of message ids, so that no side is ever in memory as a whole."""
    accepted, refused, unsent = finding("I1"), finding("I2"), finding("I3")
    prefix, arrived, seen = f"{journal.run.prefix}-", set[Key](), 0
    dead = await _dead_letters(stores.log, prefix) if stores.log is not None else None
    buckets = buckets_for(journal.events, bucket_size)
    sent = ((entry.message_id, _expectation(entry)) for entry in journal.entries())
    for bucket, part in enumerate(split(sent, buckets, Expected)):
        wanted = {(one.workspace_id, one.message_id): one for one in part}
        rows = await stores.events(_STORED, prefix=prefix, buckets=buckets, bucket=bucket)
        found: dict[Key, list[Stored]] = {}
        for row in rows:
            stored = Stored(bytes(row["print"]), row["node_id"], row["at"], row["received"])
            found.setdefault((row["workspace_id"], row["message_id"]), []).append(stored)
        seen += len(rows)
        for key, expected in wanted.items():
            times = len(found.get(key, ()))
            if expected.answer is Answer.ACCEPTED or expected.is_faulty:
                accepted.all_wrong(_accepted_wrong(key, expected, times, dead))
                accepted.sums[LOST] += not times and not expected.is_faulty
            elif times > (expected.answer is Answer.UNKNOWN):
                refused.wrong(f"{_said(key, expected, times)}, and its answer was {expected.answer.value}")
            accepted.sums[DOUBLED] += max(0, times - 1)
            if expected.answer is Answer.UNKNOWN and key in found:
                arrived.add(key)
        unsent.all_wrong(_strangers(wanted, found))
        unsent.all_wrong([one async for one in _apart(stores, [wanted[key] for key in found if key in wanted])])
    _no_dead_strangers(journal, dead or {}, unsent)
    _describe((accepted, refused, unsent), journal, seen, None if dead is None else len(dead))
    return Arrivals((accepted, refused, unsent), frozenset(arrived))


def fingerprint(event: dict[str, object]) -> bytes:
    """The hash of what the store keeps of an event as the client's own bytes."""
    call, name = str(event["type"]), event.get("event")
    context = event.get("context")
    kept = [
        call.encode(),
        event_name(call, name if isinstance(name, str) else None).encode(),
        str(event.get("userId", "")).encode(),
        str(event.get("anonymousId", "")).encode(),
        encode(event.get("properties", {})),
        encode(event.get("traits", {})),
        # what the gateway adds to a context is beside it
        encode(context["page"]) if isinstance(context, dict) and "page" in context else b"",
    ]
    return hashlib.md5(b"\x1f".join(kept), usedforsecurity=False).digest()


def _expectation(entry: Entry) -> Expected:
    known = (entry.answer, entry.tries, entry.is_faulty)
    if entry.is_faulty:
        return Expected(entry.workspace_id, entry.message_id, b"", *known)
    event, said = entry.event, entry.event.get("timestamp")
    at = ticks(instant(said)) if isinstance(said, str) else None
    return Expected(entry.workspace_id, entry.message_id, fingerprint(event), *known, _nodes(entry), at, entry.sent_at)


def _nodes(entry: Entry) -> list[UUID]:
    """The node that the event stays with, then the others that it names."""
    named = (("user_id", entry.event.get("userId")), ("anonymous_id", entry.event.get("anonymousId")))
    return [node_id(entry.workspace_id, kind, value) for kind, value in named if isinstance(value, str)]


def _accepted_wrong(key: Key, expected: Expected, times: int, dead: dict[Key, str] | None) -> Iterator[str]:
    said, reason = _said(key, expected, times), (dead or {}).get(key)
    if expected.is_faulty:
        if times:
            yield f"{said}, though it is malformed"
        elif dead is not None and reason is None and expected.answer is Answer.ACCEPTED:
            yield f"{said}, and is no dead letter either"
    elif times != 1 or reason is not None:
        yield said if reason is None else f"{said}, and is a dead letter ({reason})"


def _said(key: Key, expected: Expected, times: int) -> str:
    return f"{key[0]}: {key[1]} is stored {times} times after {expected.tries} tries"


def _strangers(wanted: dict[Key, Expected], found: dict[Key, list[Stored]]) -> Iterator[str]:
    for key, rows in found.items():
        expected = wanted.get(key)
        if expected is None:
            yield f"{key[0]}: {key[1]} is stored, and nobody sent it there"
        elif not expected.is_faulty and (
            differing := dict.fromkeys(what for row in rows for what in _differing(expected, row))
        ):
            yield f"{key[0]}: {key[1]} is not stored as it was sent ({'; '.join(differing)})"


def _differing(expected: Expected, row: Stored) -> Iterator[str]:
    if row.print != expected.print:
        yield "call, event, ids, properties, traits or page"
    if expected.nodes and row.node != expected.nodes[0]:
        yield f"it is with node {row.node}"
    # of a try without an answer nobody may have written down when it was sent
    if expected.answer is not Answer.UNKNOWN and not is_time_of(row.at, row.received, expected.at, expected.sent_at):
        yield "its time"


async def _apart(stores: Stores, stored: Sequence[Expected]) -> AsyncIterator[str]:
    """User and device of one event are one person."""
    said: dict[str, dict[tuple[UUID, UUID], str]] = {}
    for one in stored:
        if len(one.nodes) == 2:
            said.setdefault(one.workspace_id, {})[one.nodes[0], one.nodes[1]] = one.message_id
    for workspace, pairs in said.items():
        for some in in_parts(pairs, _ASKED):
            asked = {"workspace": workspace, "ones": [one for one, _ in some], "others": [other for _, other in some]}
            for row in await stores.postgres.rows(_APART, asked):
                message = pairs[row["one"], row["other"]]
                yield f"{workspace}: {message} named {row['one']} and {row['other']}, and they are two profiles"


def _no_dead_strangers(journal: Journal, dead: dict[Key, str], unsent: Finding) -> None:
    strangers = set(dead)
    for entry in journal.entries() if strangers else ():
        strangers.discard((entry.workspace_id, entry.message_id))
    unsent.all_wrong(f"{key[0]}: {key[1]} is a dead letter, and nobody sent it there" for key in sorted(strangers))


async def _dead_letters(log: LogReads, prefix: str) -> dict[Key, str]:
    """Workspace and message id -> why it was refused, for the run's own events."""
    found: dict[Key, str] = {}
    async for record in log.records(EVENTS_RECEIVED_DLQ):
        try:
            letter = _REFUSED.decode(record.value)
        except InvalidMessage:
            continue  # I15 tells
        message_id = letter.message_id or _named_in(letter.raw)
        if message_id.startswith(prefix):
            found[letter.workspace_id, message_id] = letter.reason
    return found


def _named_in(raw: bytes) -> str:
    """The message id of an event whose fields the gateway could not read as a whole; empty if it has none."""
    try:
        return _ID.decode(raw).message_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def _describe(findings: Sequence[Finding], journal: Journal, stored: int, dead: int | None) -> None:
    accepted, refused, unsent = findings
    letters = "dead letters not looked at" if dead is None else f"{dead:,} dead letters"
    accepted.compared = f"{journal.count(Answer.ACCEPTED):,} accepted events with {stored:,} stored, {letters}"
    doubtful = journal.count(Answer.REFUSED), journal.count(Answer.UNKNOWN)
    refused.compared = f"{doubtful[0]:,} refused and {doubtful[1]:,} unanswered events"
    unsent.compared = f"{stored:,} stored events with {journal.events:,} sent"
