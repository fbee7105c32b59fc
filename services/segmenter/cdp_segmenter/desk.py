"""What owners ask of segments -> checked, stored, answered: the use cases behind the HTTP routes."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from cdp_runtime.clock import Clock
from cdp_segmenter.catalogue import Catalogue, Draft, Segment
from cdp_segmenter.definitions import BY_HAND, Definitions, rule_of
from cdp_segmenter.due import due_sql
from cdp_segmenter.explain import Explanation, event_names, explain
from cdp_segmenter.membership import Place, Reason, changes, is_member
from cdp_segmenter.ports import Ledger, Witness
from cdp_segmenter.rules.ast import Rule
from cdp_segmenter.rules.check import Fault, InvalidRule, check_references, references
from cdp_segmenter.rules.columns import Columns
from cdp_segmenter.rules.describe import describe
from cdp_segmenter.rules.rewrite import inline
from cdp_segmenter.rules.scope import Scope
from cdp_segmenter.rules.sql import members_sql

_PREVIEW_ID = "this segment"
MOST_BY_HAND: Final = 100_000
# a text that is longer than a field of a request goes without it, and leaves its values no room but the URL's
LONGEST_QUESTION: Final = 130_000
Resolve = Callable[[], Awaitable[Sequence[UUID]]]


class NoSuchSegment(LookupError):
    """The workspace has no such segment."""


class NoSuchProfile(LookupError):
    """The workspace has no such profile."""


class StillReferred(Exception):
    """Other segments refer to this one: its ids are the arguments."""


class NotManual(Exception):
    """Members of a segment with rules come and go by the rules alone."""


@dataclass(frozen=True, slots=True)
class Preview:
    """Who would be a member now: how many, some of them, and the rule in words."""

    size: int
    sample: list[UUID]
    english: str


class Desk:
    """Each method is one request about one workspace. Raises InvalidRule with paths, NoSuchSegment, NameTaken."""

    def __init__(self, catalogue: Catalogue, ledger: Ledger, witness: Witness, clock: Clock) -> None:
        self.catalogue = catalogue
        self._ledger, self._witness, self._clock = ledger, witness, clock

    async def create(self, workspace_id: str, segment_id: str, draft: Draft) -> Segment:
        rule = rule_of(draft.type, draft.rules)
        # the lock: two segments saved at once must not close a circle together
        async with self._ledger.session(workspace_id) as session:
            _check(segment_id, rule, await session.definitions(), self._clock.now())
            await self.catalogue.create(workspace_id, segment_id, draft)
        return await self.get(workspace_id, segment_id)

    async def update(self, workspace_id: str, segment_id: str, draft: Draft) -> Segment:
        known = await self.get(workspace_id, segment_id)
        if (known.draft.type == "manual") is not (draft.type == "manual"):
            raise InvalidRule([Fault("type", "a manual segment and one with rules cannot become one another")])
        rule = rule_of(draft.type, draft.rules)
        async with self._ledger.session(workspace_id) as session:
            definitions = await session.definitions()
            _check(segment_id, rule, definitions, self._clock.now())
            await self.catalogue.update(workspace_id, segment_id, draft)
            changed = await self.get(workspace_id, segment_id)
            if changed.version != known.version:
                await self.catalogue.rebuild(workspace_id, sorted(definitions.dependents(segment_id)))
        return changed

    async def get(self, workspace_id: str, segment_id: str) -> Segment:
        segment = await self.catalogue.get(workspace_id, segment_id)
        if segment is None:
            raise NoSuchSegment(segment_id)
        return segment

    async def delete(self, workspace_id: str, segment_id: str) -> None:
        await self.get(workspace_id, segment_id)
        async with self._ledger.session(workspace_id) as session:
            dependents = (await session.definitions()).dependents(segment_id)
            if dependents:
                raise StillReferred(*sorted(dependents))
            await self.catalogue.delete(workspace_id, segment_id)

    async def evaluate(self, workspace_id: str, segment_id: str) -> Segment:
        """Every profile is looked at again, soon."""
        await self.get(workspace_id, segment_id)
        await self.catalogue.rebuild(workspace_id, [segment_id])
        return await self.get(workspace_id, segment_id)

    async def preview(self, workspace_id: str, type_: str, rules: Any, sample: int) -> Preview:
        """Nothing is stored."""
        rule = rule_of(type_, rules)
        if rule is None:
            return Preview(0, [], BY_HAND)
        async with self._ledger.session(workspace_id, locked=False) as session:
            definitions = await session.definitions()
        _check(_PREVIEW_ID, rule, definitions, self._clock.now())
        whole = inline(rule, {one: definition.rule for one, definition in definitions.by_id.items()})
        named = sorted(references(whole) & definitions.manual())
        manual = {one: await self._manual_members(workspace_id, one) for one in named}
        scope = Scope(workspace_id, self._clock.now())
        size, some = await self._witness.preview(whole, scope, manual, sample)
        return Preview(size, some, describe(rule))

    async def change_members(self, workspace_id: str, segment_id: str, resolve: Resolve, *, inside: bool) -> None:
        """Profiles into a manual segment, or out of it; those already there stay as they are. Raises NotManual.

        Who they are is asked once the workspace is locked: of a merge or an erasure while this waits for the lock, the
        segments will have been told already, and nobody would tell them again.
        """
        if (await self.get(workspace_id, segment_id)).draft.type != "manual":
            raise NotManual(segment_id)
        async with self._ledger.session(workspace_id) as session:
            definitions = await session.definitions()
            if segment_id not in definitions.by_id:  # deleted since
                raise NoSuchSegment(segment_id)
            profiles = await resolve()
            places = {Place(segment_id, profile_id) for profile_id in profiles}
            before = {p: s for p, s in (await session.of_profiles(profiles)).items() if p in places}
            reason = Reason(self._clock.now(), "manual")
            versions = definitions.versions([segment_id])
            await session.apply(changes(before, places if inside else (), versions, reason, workspace_id))
            if definitions.dependents(segment_id):
                await self.catalogue.ask(workspace_id, sorted(set(profiles)))

    async def explain(self, workspace_id: str, segment_id: str, profile_id: UUID) -> tuple[bool, Explanation]:
        """Whether the ledger has the profile as a member, and why it should. Raises NoSuchProfile."""
        async with self._ledger.session(workspace_id, locked=False) as session:
            definitions = await session.definitions()
            before = await session.of_profiles([profile_id])
        if segment_id not in definitions.by_id:
            raise NoSuchSegment(segment_id)
        inside = frozenset(place.segment_id for place, sequence in before.items() if is_member(sequence))
        if definitions.by_id[segment_id].rule is None:
            is_in = segment_id in inside
            return is_in, Explanation("was added by hand", is_in, "a member" if is_in else "no member")
        rule = definitions.rules([segment_id]).get(segment_id)
        if rule is None:  # it refers to one that this release cannot read
            raise NoSuchSegment(segment_id)
        now = self._clock.now()
        facts = await self._witness.facts(Scope(workspace_id, now), profile_id, event_names(rule))
        if facts is None:
            raise NoSuchProfile(profile_id)
        return segment_id in inside, explain(rule, replace(facts, segments=inside), now)

    async def segments_of(self, workspace_id: str, profiles: Sequence[UUID]) -> Mapping[UUID, list[str]]:
        """Facet ``segments``: profile ids -> ids of their segments; a profile in none is missing."""
        return await self.catalogue.holding(workspace_id, list(profiles))

    async def counts(self, workspace_id: str, _: Sequence[Any]) -> Mapping[str, int]:
        """Facet ``counts``: how many segments there are."""
        return {"segments": await self.catalogue.count(workspace_id)}

    async def existing(self, workspace_id: str, segment_ids: Sequence[str]) -> Mapping[str, bool]:
        """Facet ``segment_exists``: ids -> whether there is such a segment."""
        known = await self.catalogue.known(workspace_id, list(segment_ids))
        return {segment_id: segment_id in known for segment_id in segment_ids}

    async def _manual_members(self, workspace_id: str, segment_id: str) -> list[UUID]:
        members = await self.catalogue.members(workspace_id, segment_id, MOST_BY_HAND + 1, None, 0)
        if len(members) > MOST_BY_HAND:
            message = f"{segment_id} has more members added by hand than a preview counts with ({MOST_BY_HAND:,})"
            raise InvalidRule([Fault("rules", message)])
        return [member.profile_id for member in members]


def _check(segment_id: str, rule: Rule | None, definitions: Definitions, now: datetime) -> None:
    """Raises InvalidRule for references that cannot be followed, and a rule that no question to the store has room for.

    Once saved, such a one would keep the store from answering about the whole workspace.
    """
    if rule is None:
        return
    known = {one: definition.rule for one, definition in definitions.by_id.items()}
    check_references(segment_id, rule, known)
    known[segment_id] = rule
    for one in (segment_id, *sorted(definitions.dependents(segment_id))):
        whole = known[one]
        if whole is None or (length := _longest_question(inline(whole, known), now)) <= LONGEST_QUESTION:
            continue
        which = "the rule" if one == segment_id else f"the segment {one!r}, which refers to this one,"
        message = f"{which} takes {length:,} characters to ask, at most {LONGEST_QUESTION:,} are allowed"
        raise InvalidRule([Fault("rules", f"{message}: give it fewer conditions, or shorter lists")])


def _longest_question(rule: Rule, now: datetime) -> int:
    """Characters of the longest one that is asked about a rule alone."""
    asked = [members_sql([rule], Scope("", now)), *due_sql([rule], "", now, now)]
    return max(Columns([rule]).longest(now), *(len(question.sql) for question in asked))
