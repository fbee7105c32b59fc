"""A rule's JSON -> its tree, or every fault in it with the path of the fault."""

from collections.abc import Mapping
from typing import Any, Final

from cdp_segmenter.rules.ast import Condition, InSegment, Not, Rule, TraitIs
from cdp_segmenter.rules.check import Fault, InvalidRule, check
from cdp_segmenter.rules.fields import OPERATORS, UnknownField, field_named, is_never_kept
from cdp_segmenter.rules.parse_event import event_condition
from cdp_segmenter.rules.reader import GROUPS, Reader, group

_MAX_NESTING: Final = 40


def parse(given: Any, path: str = "rules", *, is_stored: bool = False) -> Rule:
    """The tree of a rule in the API's JSON, or of one that was accepted before. Raises InvalidRule with all faults."""
    if _deeper_than(given, _MAX_NESTING):
        raise InvalidRule([Fault(path, f"objects and lists are nested more than {_MAX_NESTING} deep")])
    reader = Reader(is_stored)
    rule = _condition(reader, given, path)
    if reader.faults or rule is None:
        raise InvalidRule(reader.faults)
    check(rule, path)
    return rule


def _deeper_than(given: Any, limit: int) -> bool:
    """Without recursion: the JSON may be hostile."""
    level = [given]
    for _ in range(limit):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return any(isinstance(item, dict | list) for item in level)


def _condition(reader: Reader, given: Any, path: str) -> Condition | None:
    if not isinstance(given, Mapping):
        return reader.fault(path, "give an object with field, event, segment, or operator and conditions")
    if "conditions" in given:
        return group(reader, given, path, lambda item, at: _condition(reader, item, at))
    if "event" in given:
        return event_condition(reader, given, path)
    if "segment" in given:
        return _membership(reader, given, path)
    if "field" in given:
        return _trait(reader, given, path)
    if given.get("operator") in GROUPS:
        return reader.fault(f"{path}.conditions", "give the list of conditions of this group")
    return reader.fault(path, "give field, event, segment, or operator and conditions")


def _trait(reader: Reader, given: Mapping[str, Any], path: str) -> Condition | None:
    reader.only(given, path, "field", "operator", "value")
    if given["field"] == "segments":
        return _membership(reader, {"segment": given.get("value"), "operator": given.get("operator")}, path)
    if not isinstance(given["field"], str):
        return reader.fault(f"{path}.field", "give the name of a field, such as attributes.country")
    try:
        field = field_named(given["field"])
    except UnknownField as error:
        return reader.fault(f"{path}.field", str(error))
    if is_never_kept(field):
        kinds = "user_id, anonymous_id, email, phone, device_id, and others in lower case"
        reader.passed_over(f"{path}.field", f"nobody has identifiers of the kind {field.name!r}: there are {kinds}")
    comparison = reader.comparison(given, path, field.kind, OPERATORS[field.kind], str(field))
    return TraitIs(field, comparison) if comparison else None


def _membership(reader: Reader, given: Mapping[str, Any], path: str) -> Condition | None:
    reader.only(given, path, "segment", "operator")
    if not isinstance(given["segment"], str) or not given["segment"]:
        return reader.fault(f"{path}.segment", "give the id of a segment")
    match given.get("operator") or "in":
        case "in" | "=" | "contains":
            return InSegment(given["segment"])
        case "not_in" | "!=":
            return Not(InSegment(given["segment"]))
    return reader.fault(f"{path}.operator", "give in or not_in")
