"""Memberships, their messages, their rules -> I8: they alternate, replay to the table, and are what the rules say."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from cdp_schemas.codec import InvalidMessage
from cdp_schemas.segments import MembershipsChanged, read_memberships
from cdp_schemas.topics import MEMBERSHIPS_CHANGED
from cdp_verify.buckets import Spill, buckets_for
from cdp_verify.findings import Finding, finding
from cdp_verify.rules import CannotJudge, Facts, Happened, event_names, holds
from cdp_verify.stores import LogReads, Row, Stores
from cdp_verify.times import milliseconds

_JUDGED: Final = 500  # profiles whose facts are in memory at once
_PER_PART: Final = 100_000  # messages that are in memory at once: of ten changes each, about 500 MB
_BUCKETS: Final = 256  # equal parts of all profiles, as the segmenter's table has them
_EDGE: Final = timedelta(seconds=5)
_KEPT: Final = timedelta(days=6)  # the topic keeps every message for seven days
_WORKSPACE: Final = "(%(workspace)s::text IS NULL OR workspace_id = %(workspace)s)"
_TABLE: Final = f"""
SELECT workspace_id, segment_id, profile_id, sequence, changed_at FROM segmenter.memberships
WHERE {_WORKSPACE} AND bucket >= %(first)s AND bucket < %(after)s
"""  # noqa: S608 - a constant
_SEGMENTS: Final = f"""
SELECT s.workspace_id, s.segment_id, s.name, s.type, s.rules, s.size, s.status, w.swept_through,
       coalesce(c.members, 0) AS members
FROM (SELECT * FROM segmenter.segments WHERE deleted_at IS NULL AND {_WORKSPACE}) AS s
LEFT JOIN segmenter.sweeps AS w USING (workspace_id)
LEFT JOIN (SELECT workspace_id, segment_id, count(*) AS members FROM segmenter.memberships
           WHERE member AND {_WORKSPACE} GROUP BY 1, 2) AS c USING (workspace_id, segment_id)
"""  # noqa: S608 - a constant
_LIVING: Final = f"""
SELECT workspace_id, segment_id FROM segmenter.segments WHERE deleted_at IS NULL AND {_WORKSPACE}
"""  # noqa: S608 - a constant
_PROFILES: Final = """
SELECT profile_id, traits, consent, currency, ltv_minor, order_count, first_seen, last_seen, last_order_at
FROM identity.profiles WHERE workspace_id = %(workspace)s ORDER BY profile_id
"""
_NODES: Final = """
SELECT node_id, profile_id, kind, value FROM identity.nodes
WHERE workspace_id = %(workspace)s AND kind <> ''
  AND (profile_id = ANY(%(profiles)s) AND profile_id <> node_id OR node_id = ANY(%(profiles)s))
"""
_HELD: Final = """
SELECT segment_id, profile_id FROM segmenter.memberships
WHERE workspace_id = %(workspace)s AND profile_id = ANY(%(profiles)s) AND member
"""
_EVENTS: Final = """
SELECT node_id, event, timestamp, properties FROM events
WHERE workspace_id = {asked:String} AND event IN {names:Array(String)} AND node_id IN {nodes:Array(UUID)}
"""
# whoever was merged away or erased leaves; who is put into a manual segment need not be anybody
_NOBODIES: Final = f"""
SELECT m.workspace_id, m.segment_id, m.profile_id, s.type FROM segmenter.memberships AS m
JOIN (SELECT workspace_id, segment_id, type FROM segmenter.segments WHERE deleted_at IS NULL AND {_WORKSPACE}) AS s
    USING (workspace_id, segment_id)
WHERE m.member AND NOT EXISTS (
    SELECT FROM identity.profiles AS p WHERE p.workspace_id = m.workspace_id AND p.profile_id = m.profile_id)
LIMIT 1000
"""  # noqa: S608 - a constant
_UNTOLD: Final = """
SELECT (SELECT count(*) FROM segmenter.outbox) + (SELECT coalesce(sum(changes), 0) FROM segmenter.outbox_batches) AS n
"""
Key = tuple[str, str, UUID]  # workspace, segment, profile


@dataclass(slots=True)
class Replayed:
    """What the messages have told so far: of each membership its last change, and what came after the first one heard
    although it is before it: the release before had other keys, so it may lie in another partition."""

    last: dict[Key, tuple[int, datetime]] = field(default_factory=dict)
    first: dict[Key, int] = field(default_factory=dict)  # of those alone whose first change was not the first heard
    before: dict[Key, set[int]] = field(default_factory=dict)

    def untold(self) -> Iterator[str]:
        """Whose beginning was never told; for a log that has forgotten nothing."""
        for key, first in self.first.items():
            missing = first - 1 - len(self.before.get(key, ()))
            if missing:
                yield f"{_of(key)}: {missing} changes before {first} were not told"


@dataclass(slots=True)
class _Judging:
    """What the evaluation of all rules has found so far."""

    result: Finding
    now: datetime
    judged: int = 0
    on_edge: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


async def check_memberships(stores: Stores, now: datetime, *, per_part: int = _PER_PART) -> Finding:
    """I8. ``now`` is the moment that rules are judged at; who moves within seconds of it is left out.

    ``per_part``: about how many messages are in memory at once.
    """
    result = finding("I8")
    untold = (await stores.postgres.rows(_UNTOLD))[0]["n"]
    if untold:
        result.wrong(f"{untold} changes of memberships are not told yet")
    told = await _replay(stores, now, result, per_part) if stores.log is not None else None
    await _nobodies(stores, result)
    segments = await stores.postgres.rows(_SEGMENTS, {"workspace": stores.scope.workspace_id})
    for one in segments:
        if one["size"] != one["members"]:
            result.wrong(f"{_name(one)} says its size is {one['size']}, and has {one['members']} members")
    judging = _Judging(result, now)
    for workspace in sorted({one["workspace_id"] for one in segments}):
        await _judge(stores, [one for one in segments if one["workspace_id"] == workspace], judging)
    messages = "messages not looked at" if told is None else f"{told:,} messages"
    result.compared = f"{messages}, {len(segments)} segments, {judging.judged:,} memberships judged by their rules"
    result.passed_over += [f"{name}: {why}" for name, why in judging.skipped.items()]
    if judging.on_edge:
        result.notes.append(f"{judging.on_edge} memberships that the clock moves at this moment were left out")
    return result


async def _nobodies(stores: Stores, result: Finding) -> None:
    by_hand = 0
    for row in await stores.postgres.rows(_NOBODIES, {"workspace": stores.scope.workspace_id}):
        if row["type"] == "manual":
            by_hand += 1
        else:
            result.wrong(f"{_name(row)}: profile {row['profile_id']} is a member, and there is no such profile")
    if by_hand:
        result.notes.append(f"{by_hand} members of manual segments are no profiles")


async def _replay(stores: Stores, now: datetime, result: Finding, per_part: int) -> int:
    """Messages in their order against the rule of alternation, and what they end in against the table.

    Part by part of all profiles, so that the memberships of one part alone are in memory.
    """
    assert stores.log is not None
    messages = 0
    told = sum((await stores.log.ends(MEMBERSHIPS_CHANGED)).values())
    parts = min(buckets_for(told, per_part), _BUCKETS)
    with Spill(parts, MembershipsChanged) as spill:
        async for message in _told(stores.log, result):
            if stores.scope.workspace_id in (None, message.workspace_id):
                messages += 1
                spill.put(_bucket_of(message.profile_id) * parts // _BUCKETS, message)
        is_whole = not any((await stores.log.begins(MEMBERSHIPS_CHANGED)).values())
        for number, part in enumerate(spill.parts()):
            replayed = Replayed()
            for message in part:
                result.all_wrong(alternation(message, replayed, now))
            if is_whole:
                result.all_wrong(replayed.untold())
            ends = (-(-edge * _BUCKETS // parts) for edge in (number, number + 1))
            await _against_the_table(stores, replayed.last, ends, now - _KEPT, result)
    return messages


async def _told(log: LogReads, result: Finding) -> AsyncIterator[MembershipsChanged]:
    async for record in log.records(MEMBERSHIPS_CHANGED):
        try:
            yield read_memberships(record.value)
        except InvalidMessage as error:
            if record.value:
                result.wrong(f"{MEMBERSHIPS_CHANGED}[{record.partition.number}] {record.offset}: {error}")


async def _against_the_table(
    stores: Stores, last: dict[Key, tuple[int, datetime]], ends: Iterable[int], since: datetime, result: Finding
) -> None:
    """``ends``: the first bucket of profiles, and the first that is none of them any more. Empties ``last``.

    The log may have forgotten what happened before ``since``.
    """
    first, after = ends
    asked = {"workspace": stores.scope.workspace_id, "first": first, "after": after}
    async for row in stores.postgres.stream(_TABLE, asked):
        key = (row["workspace_id"], row["segment_id"], row["profile_id"])
        if key not in last and row["changed_at"] < since:
            continue
        sequence, _ = last.pop(key, (0, since))
        if sequence != row["sequence"]:
            result.wrong(f"{_of(key)} has sequence {row['sequence']} in the table, and {sequence} in the messages")
    # an exit may be forgotten with the profile, and everything with the segment
    inside = {key: sequence for key, (sequence, _) in last.items() if sequence % 2}
    rows = await stores.postgres.rows(_LIVING, {"workspace": stores.scope.workspace_id}) if inside else []
    living = {(row["workspace_id"], row["segment_id"]) for row in rows}
    for key, sequence in inside.items():
        if key[:2] in living:
            result.wrong(f"{_of(key)} was told as entered ({sequence}), and is not in the table")


def _bucket_of(profile: UUID) -> int:
    """As the table has it: the ninth byte."""
    return profile.int >> 56 & 0xFF


def alternation(message: MembershipsChanged, told: Replayed, now: datetime) -> list[str]:
    """What is wrong with the next message, given what was told before; brings ``told`` up to date.

    A repeated change is none of the faults, nor a gap behind one that the log may have forgotten its successors of.
    """
    found, last = [], told.last
    for change in message.changes:
        key = (message.workspace_id, change.segment_id, message.profile_id)
        if (change.change == "entered") != (change.sequence % 2 == 1):
            found.append(f"{_of(key)}: change {change.sequence} says {change.change}")
        before, at = last.get(key, (0, datetime.min.replace(tzinfo=UTC)))
        if change.sequence > before + 1 and before and at > now - _KEPT:
            found.append(f"{_of(key)}: change {change.sequence} follows {before}")
        if not before and change.sequence > 1:
            told.first[key] = change.sequence
        elif change.sequence < told.first.get(key, 0):
            told.before.setdefault(key, set()).add(change.sequence)
        if change.sequence > before:
            last[key] = (change.sequence, message.at)
    return found


async def _judge(stores: Stores, segments: Sequence[Row], judging: _Judging) -> None:
    workspace = segments[0]["workspace_id"]
    ruled = [one for one in segments if one["rules"] and one["type"] != "manual" and one["status"] == "ready"]
    for one in segments:
        if one["type"] == "manual":
            judging.result.notes.append(f"{_name(one)} is manual, so that no rule says who is in it")
        elif one not in ruled:
            judging.result.wrong(f"{_name(one)} is {one['status']}, so that nobody knows yet who is in it")
    if not ruled:
        return
    names = frozenset[str]().union(*(event_names(one["rules"]) for one in ruled))
    async for profiles in _profiles(stores, workspace):
        facts, members = await _facts(stores, workspace, profiles, names)
        for profile, known in facts.items():
            for one in ruled:
                _compare(one, profile, known, members, judging)


def _compare(
    segment: Row, profile: UUID, facts: Facts, members: frozenset[tuple[str, UUID]], judging: _Judging
) -> None:
    swept = segment["swept_through"] or judging.now
    try:
        verdicts = {holds(segment["rules"], facts, at) for at in (min(swept, judging.now) - _EDGE, judging.now + _EDGE)}
    except (CannotJudge, KeyError, TypeError, ValueError) as error:
        judging.skipped.setdefault(_name(segment), f"{error} is beyond this reading")
        return
    judging.judged += 1
    if len(verdicts) == 2:
        judging.on_edge += 1
    elif ((segment["segment_id"], profile) in members) not in verdicts:
        said = "is no member and should be one" if True in verdicts else "is a member and should not be one"
        judging.result.wrong(f"{_name(segment)}: profile {profile} {said}")


async def _profiles(stores: Stores, workspace: str) -> AsyncIterator[list[Row]]:
    part: list[Row] = []
    async for row in stores.postgres.stream(_PROFILES, {"workspace": workspace}):
        part.append(row)
        if len(part) == _JUDGED:
            yield part
            part = []
    if part:
        yield part


async def _facts(
    stores: Stores, workspace: str, profiles: Sequence[Row], names: frozenset[str]
) -> tuple[dict[UUID, Facts], frozenset[tuple[str, UUID]]]:
    asked = {"workspace": workspace, "profiles": [row["profile_id"] for row in profiles]}
    nodes = await stores.postgres.rows(_NODES, asked)
    owner = {row["node_id"]: row["profile_id"] for row in nodes}
    members = {(row["segment_id"], row["profile_id"]) for row in await stores.postgres.rows(_HELD, asked)}
    events: dict[UUID, list[Happened]] = {}
    if names:
        rows = await stores.events(_EVENTS, asked=workspace, names=sorted(names), nodes=list(owner))
        for row in rows:
            happened = Happened(row["event"], row["timestamp"], msgspec.json.decode(row["properties"] or "{}"))
            events.setdefault(owner[row["node_id"]], []).append(happened)
    identifiers: dict[UUID, dict[str, list[str]]] = {}
    for row in nodes:
        identifiers.setdefault(row["profile_id"], {}).setdefault(row["kind"], []).append(row["value"])
    held: dict[UUID, set[str]] = {}
    for segment, profile in members:
        held.setdefault(profile, set()).add(segment)
    facts = {row["profile_id"]: _known(row, identifiers, held, events.get(row["profile_id"], [])) for row in profiles}
    return facts, frozenset(members)


def _known(
    row: Row,
    identifiers: Mapping[UUID, Mapping[str, Sequence[str]]],
    held: Mapping[UUID, set[str]],
    events: Sequence[Happened],
) -> Facts:
    profile = row["profile_id"]
    return Facts(
        row["traits"] or {},
        row["consent"] or {},
        identifiers.get(profile, {}),
        row["currency"] or "",
        row["ltv_minor"],
        row["order_count"],
        _time(row["first_seen"]),
        _time(row["last_seen"]),
        _time(row["last_order_at"]),
        frozenset(held.get(profile, ())),
        events,
    )


def _time(at: Any) -> datetime | None:
    return None if at is None else milliseconds(at)


def _name(segment: Row) -> str:
    return f"{segment['workspace_id']}: segment {segment['segment_id']}"


def _of(key: Key) -> str:
    return f"{key[0]}: profile {key[2]} in {key[1]}"
