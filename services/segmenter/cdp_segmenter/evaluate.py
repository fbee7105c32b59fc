"""Profiles whose facts changed, or a part of all profiles -> memberships recorded and told.

Membership is a function of the stores and the clock. Every evaluation holds the workspace's lock from before it reads
the facts until its changes are committed, so a later commit never carries older facts, whichever worker does it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import attrgetter, is_not
from typing import Final
from uuid import UUID

from cdp_runtime.clock import Clock
from cdp_runtime.metrics import (
    FRESHNESS,
    SEGMENTER_CHANGES,
    SEGMENTER_EVALUATION_SECONDS,
    SEGMENTER_PROFILES,
)
from cdp_runtime.parts import in_parts
from cdp_schemas.segments import Cause, MembershipsChanged
from cdp_segmenter.definitions import Definition, Definitions
from cdp_segmenter.membership import Place, Reason, changes, count, is_member, turns
from cdp_segmenter.ports import Crowd, Ledger, Session
from cdp_segmenter.rules.columns import Columns
from cdp_segmenter.rules.decide import Decider, together
from cdp_segmenter.rules.scope import Scope
from cdp_segmenter.rules.short import in_short
from cdp_segmenter.rules.times import epoch_ms, from_epoch_ms

# Questions about some thousands of profiles read most of what there is of a workspace, however many thousands it are.
IDS_PER_QUERY = 8000
# how far ahead an evaluation foresees what time will change, and the sweep looks for those whom none will look at
HORIZON: Final = timedelta(seconds=30)
_PREPARED: Final = 50  # workspaces whose rules stay prepared
_number = attrgetter("int")  # what a UUID compares by, without a call of Python for each comparison


@dataclass(frozen=True, slots=True)
class Touched:
    """Profiles of one workspace to look at again. ``gone`` were merged away or erased; ``merged_into`` says where
    the merged went, as far as that was told."""

    workspace_id: str
    profiles: frozenset[UUID]
    gone: frozenset[UUID] = frozenset()
    cause: Cause = "event"
    received_at: datetime | None = None
    merged_into: Mapping[UUID, UUID] = field(default_factory=dict)


class Evaluator:
    """The one way in which memberships of segments with rules change."""

    def __init__(self, ledger: Ledger, crowd: Crowd, clock: Clock) -> None:
        self._ledger, self._crowd, self._clock = ledger, crowd, clock
        self._deciders: dict[str, tuple[list[Definition], list[str], list[Decider]]] = {}

    async def touched(self, touched: Touched, *, looks: bool = True) -> int:
        """Looks at these profiles again in every segment; returns how many memberships changed.

        Without ``looks`` those who are gone leave, and that is all: the store is asked about nobody's facts.
        """
        everyone = sorted(touched.profiles | touched.gone, key=_number)
        changed = 0
        for some in map(frozenset, in_parts(everyone, IDS_PER_QUERY)):
            part = replace(touched, profiles=some & touched.profiles, gone=some & touched.gone)
            changed += await self._some(part, touched.gone, looks)
        return changed

    async def part(self, workspace_id: str, segment_ids: Sequence[str], buckets: tuple[int, int], cause: Cause) -> None:
        """Looks at a part of all profiles in some segments."""
        started = self._clock.monotonic()
        async with self._ledger.session(workspace_id) as session:
            definitions = await session.definitions()
            rules = definitions.rules(segment_ids)
            wanted = [*rules, *(definitions.manual() if rules else ())]
            before = await session.of_buckets(buckets, wanted)
            scope = Scope(workspace_id, self._clock.now(), buckets=buckets)
            members = await self._crowd.members(list(rules.values()), scope, _manual(definitions, before))
            after = _places(rules, members)
            versions = definitions.versions(rules)
            found = changes(_within(before, rules), after, versions, Reason(scope.now, cause), workspace_id)
            await session.apply(found)
        self._measure("full", started, found)

    async def _some(self, touched: Touched, all_gone: frozenset[UUID], looks: bool) -> int:
        started = self._clock.monotonic()
        async with self._ledger.session(touched.workspace_id) as session:
            definitions = await session.definitions()
            if not definitions.by_id:
                return 0
            now = self._clock.now()
            found = await self._gone(session, definitions, touched, all_gone, now) if touched.gone else []
            await session.apply(found)
            # who inherited may have been looked at before: segments may refer to the one that they came into
            changed = {one.profile_id for one in found}
            ids = tuple(sorted((touched.profiles | changed) - touched.gone, key=_number))
            if ids and looks:
                found += await self._changed(session, definitions, Scope(touched.workspace_id, now, ids), touched)
        self._measure("incremental", started, found)
        SEGMENTER_PROFILES.inc(len(touched.profiles))
        if touched.received_at is not None:
            FRESHNESS.labels("membership").observe(max((self._clock.now() - touched.received_at).total_seconds(), 0))
        return count(found)

    async def _changed(
        self, session: Session, definitions: Definitions, scope: Scope, touched: Touched
    ) -> list[MembershipsChanged]:
        """The changes of these profiles, applied; who is about to turn by time alone gets a reminder."""
        segment_ids, deciders = self._prepared(scope.workspace_id, definitions)
        if not segment_ids:
            return []
        ids = scope.profiles or ()
        inside = await session.inside(ids)
        manual = {one: inside.get(one, 0) for one in definitions.manual()}
        decided = together([await self._crowd.decided(decider, scope, manual) for decider in deciders])
        turned = sorted(
            (number, segment_id)
            for segment_id, who in zip(segment_ids, decided.members, strict=True)
            for number in _numbers(inside.get(segment_id, 0) ^ who)
        )
        places = [Place(segment_id, ids[number]) for number, segment_id in turned]
        known = zip(places, await session.sequences(places), strict=True)
        reason = Reason(scope.now, touched.cause, touched.received_at)
        found = turns(known, definitions.versions(segment_ids), reason, scope.workspace_id)
        await session.apply(found)
        horizon = epoch_ms(scope.now + HORIZON)
        near = ((ids[number], ms) for number, ms in decided.next_ms.items() if ms <= horizon)
        await session.remind({profile_id: from_epoch_ms(ms) for profile_id, ms in near})
        return found

    def _prepared(self, workspace_id: str, definitions: Definitions) -> tuple[list[str], list[Decider]]:
        """The workspace's rules, prepared; made anew when a definition is another one than last time."""
        current = list(definitions.by_id.values())
        known = self._deciders.get(workspace_id)
        if known is None or len(known[0]) != len(current) or any(map(is_not, known[0], current)):
            if len(self._deciders) >= _PREPARED:
                self._deciders.pop(next(iter(self._deciders)))
            rules = definitions.rules()
            now = self._clock.now()
            columns = in_short(list(rules.values()), Columns, lambda some: some.longest(now))
            known = self._deciders[workspace_id] = (current, list(rules), list(map(Decider, columns)))
        return known[1], known[2]

    async def _gone(
        self, session: Session, definitions: Definitions, touched: Touched, all_gone: frozenset[UUID], now: datetime
    ) -> list[MembershipsChanged]:
        """Those who went leave every segment; a manual membership goes on with the profile they were merged into."""
        before = await session.of_profiles(sorted(touched.gone))
        survivors = await self._survivors(touched, all_gone)
        manual = definitions.manual()
        heirs = {
            Place(place.segment_id, survivors[place.profile_id])
            for place, sequence in before.items()
            if is_member(sequence) and place.segment_id in manual and place.profile_id in survivors
        }
        known = await session.of_profiles(sorted({heir.profile_id for heir in heirs}))
        inherited = {place: sequence for place, sequence in known.items() if place in heirs}
        erased = {place: sequence for place, sequence in before.items() if place.profile_id not in survivors}
        merged = {place: sequence for place, sequence in before.items() if place not in erased}
        versions = definitions.versions(definitions.by_id)
        merge = Reason(now, "merge", touched.received_at)
        return [
            *changes({**merged, **inherited}, heirs, versions, merge, touched.workspace_id),
            *changes(erased, (), versions, replace(merge, cause="erased"), touched.workspace_id),
        ]

    async def _survivors(self, touched: Touched, all_gone: frozenset[UUID]) -> dict[UUID, UUID]:
        """Merged profile -> where it lives on in the end; who ended with somebody who is gone too lives on nowhere.

        The store is asked for those of whom no message told.
        """
        into = dict(touched.merged_into)
        if untold := sorted({_end(one, into) for one in touched.gone} & all_gone):
            into.update(await self._crowd.survivors(touched.workspace_id, untold))
        ends = {one: _end(one, into) for one in touched.gone}
        return {one: end for one, end in ends.items() if end not in all_gone}

    def _measure(self, kind: str, started: float, found: Sequence[MembershipsChanged]) -> None:
        SEGMENTER_EVALUATION_SECONDS.labels(kind).observe(self._clock.monotonic() - started)
        changed = Counter((turned.change, one.cause) for one in found for turned in one.changes)
        for (change, cause), number in changed.items():
            SEGMENTER_CHANGES.labels(change, cause).inc(number)


def _end(profile: UUID, into: Mapping[UUID, UUID]) -> UUID:
    """Who was merged may have been merged into somebody who was merged later."""
    met = {profile}
    while (further := into.get(profile)) is not None and further not in met:
        met.add(further)
        profile = further
    return profile


def _manual(definitions: Definitions, before: dict[Place, int]) -> dict[str, list[UUID]]:
    """The members of the manual segments among the profiles that are looked at."""
    members: dict[str, list[UUID]] = {segment_id: [] for segment_id in definitions.manual()}
    for place, sequence in before.items():
        if place.segment_id in members and is_member(sequence):
            members[place.segment_id].append(place.profile_id)
    return members


def _numbers(bits: int) -> Iterator[int]:
    """Which bits are set; mostly few are."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _places(segment_ids: Iterable[str], members: Sequence[Sequence[UUID]]) -> list[Place]:
    return [
        Place(segment_id, profile_id)
        for segment_id, profiles in zip(segment_ids, members, strict=True)
        for profile_id in profiles
    ]


def _within(before: dict[Place, int], segment_ids: Iterable[str]) -> dict[Place, int]:
    chosen = set(segment_ids)
    return {place: sequence for place, sequence in before.items() if place.segment_id in chosen}
