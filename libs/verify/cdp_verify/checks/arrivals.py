"""Journal, event store, dead letters -> I1, I2, I3: each event where it must be, once, as it was sent."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from cdp_schemas.codec import Codec, InvalidMessage, encode
from cdp_schemas.event_names import event_name
from cdp_schemas.events import RefusedEvent
from cdp_schemas.topics import EVENTS_RECEIVED_DLQ
from cdp_verify.buckets import SIZE, buckets_for, split
from cdp_verify.findings import DOUBLED, LOST, Finding, finding
from cdp_verify.journal import Answer, Entry, Journal
from cdp_verify.stores import LogReads, Stores

_REFUSED: Final = Codec(RefusedEvent)
_STORED: Final = """
SELECT workspace_id, message_id,
       MD5(concat(event, '\\x1f', user_id, '\\x1f', anonymous_id, '\\x1f', properties, '\\x1f', traits)) AS print
FROM events WHERE startsWith(message_id, {prefix:String}) AND CRC32(message_id) % {buckets:UInt32} = {bucket:UInt32}
"""
Key = tuple[str, str]  # workspace, message id


class _Named(msgspec.Struct, rename="camel"):
    message_id: str = ""


_ID: Final = msgspec.json.Decoder(_Named)


class Expected(NamedTuple):
    """What the journal says of one event."""

    workspace_id: str
    message_id: str
    print: bytes
    answer: Answer
    tries: int
    is_faulty: bool


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
        prints: dict[Key, list[bytes]] = {}
        for row in rows:
            prints.setdefault((row["workspace_id"], row["message_id"]), []).append(bytes(row["print"]))
        seen += len(rows)
        for key, expected in wanted.items():
            times = len(prints.get(key, ()))
            if expected.answer is Answer.ACCEPTED or expected.is_faulty:
                accepted.all_wrong(_accepted_wrong(key, expected, times, dead))
                accepted.sums[LOST] += not times and not expected.is_faulty
            elif times > (expected.answer is Answer.UNKNOWN):
                refused.wrong(f"{_said(key, expected, times)}, and its answer was {expected.answer.value}")
            accepted.sums[DOUBLED] += max(0, times - 1)
            if expected.answer is Answer.UNKNOWN and key in prints:
                arrived.add(key)
        unsent.all_wrong(_strangers(wanted, prints))
    _no_dead_strangers(journal, dead or {}, unsent)
    _describe((accepted, refused, unsent), journal, seen, None if dead is None else len(dead))
    return Arrivals((accepted, refused, unsent), frozenset(arrived))


def fingerprint(event: dict[str, object]) -> bytes:
    """The hash of what the store keeps of an event as the client's own bytes."""
    call, name = str(event["type"]), event.get("event")
    kept = [
        event_name(call, name if isinstance(name, str) else None).encode(),
        str(event.get("userId", "")).encode(),
        str(event.get("anonymousId", "")).encode(),
        encode(event.get("properties", {})),
        encode(event.get("traits", {})),
    ]
    return hashlib.md5(b"\x1f".join(kept), usedforsecurity=False).digest()


def _expectation(entry: Entry) -> Expected:
    printed = b"" if entry.is_faulty else fingerprint(entry.event)
    return Expected(entry.workspace_id, entry.message_id, printed, entry.answer, entry.tries, entry.is_faulty)


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


def _strangers(wanted: dict[Key, Expected], prints: dict[Key, list[bytes]]) -> Iterator[str]:
    for key, found in prints.items():
        expected = wanted.get(key)
        if expected is None:
            yield f"{key[0]}: {key[1]} is stored, and nobody sent it there"
        elif any(one != expected.print for one in found) and not expected.is_faulty:
            yield f"{key[0]}: {key[1]} is not stored as it was sent (event, ids, properties or traits)"


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
