"""The segments of one workspace as rules: what each refers to, who depends on whom, which are evaluated."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cdp_segmenter.rules.ast import Rule
from cdp_segmenter.rules.check import Fault, InvalidRule, references
from cdp_segmenter.rules.parse import parse
from cdp_segmenter.rules.rewrite import inline

_TYPES: Final = ("rule-based", "behavioral", "manual")
BY_HAND: Final = "members are added by hand"


@dataclass(frozen=True, slots=True)
class Definition:
    """One segment's rule at one version; a manual segment has none."""

    segment_id: str
    version: int
    rule: Rule | None


@dataclass(frozen=True, slots=True)
class Definitions:
    """The segments of a workspace that are not deleted; ``unreadable`` are those whose rules another release wrote."""

    by_id: Mapping[str, Definition]
    unreadable: Collection[str] = ()

    @classmethod
    def of(cls, definitions: Iterable[Definition], unreadable: Collection[str] = ()) -> "Definitions":
        return cls({definition.segment_id: definition for definition in definitions}, unreadable)

    def rules(self, segment_ids: Iterable[str] | None = None) -> dict[str, Rule]:
        """Self-contained rules of the segments that have one; only manual segments are still referred to.

        Without those that refer to an unreadable one, however indirectly: who satisfies them cannot be told.
        """
        untold = {one for segment_id in self.unreadable for one in self.dependents(segment_id)}
        raw = {segment_id: definition.rule for segment_id, definition in self.by_id.items()}
        chosen = self.by_id if segment_ids is None else [one for one in segment_ids if one in self.by_id]
        return {one: inline(rule, raw) for one in chosen if (rule := raw[one]) is not None and one not in untold}

    def manual(self) -> set[str]:
        return {one for one, definition in self.by_id.items() if definition.rule is None}

    def versions(self, segment_ids: Iterable[str]) -> dict[str, int]:
        return {one: self.by_id[one].version for one in segment_ids}

    def dependents(self, segment_id: str) -> set[str]:
        """Segments whose members may change when this one's do, however indirectly."""
        found: set[str] = set()
        wave = {segment_id}
        while wave:
            wave = {one for one, d in self.by_id.items() if references(d.rule) & wave} - found
            found |= wave
        return found


def rule_of(type_: str, given: Any, *, is_stored: bool = False) -> Rule | None:
    """The rule of a segment's JSON, new or as it is stored. Raises InvalidRule with the paths of all faults."""
    if type_ not in _TYPES:
        raise InvalidRule([Fault("type", f"{type_!r} is not supported: there are {', '.join(_TYPES)}")])
    if type_ == "manual":
        if given:
            raise InvalidRule([Fault("rules", "a manual segment has no rules: add its members one by one")])
        return None
    return parse(given, is_stored=is_stored)
