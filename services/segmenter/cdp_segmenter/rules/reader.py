"""What the parsers share: collecting faults with their paths, groups, and comparisons."""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from cdp_segmenter.rules.ast import And, Comparison, Condition, Kind, Not, Operator, Or
from cdp_segmenter.rules.check import Fault
from cdp_segmenter.rules.values import MISSING, BadValue, comparison

_OPERATORS = get_args(Operator)
GROUPS = ("AND", "OR", "NOT")
_LONGEST_GROUP = 200


@dataclass(slots=True)
class Reader:
    """Collects the faults of one rule, so that its author sees all of them at once.

    A rule that is stored was accepted once, perhaps with words that were passed over: it goes on to mean what it meant.
    """

    is_stored: bool = False
    faults: list[Fault] = field(default_factory=list)

    def fault(self, path: str, message: str) -> Condition | None:
        """Notes a fault; always None, which is what a parser that found one returns."""
        self.faults.append(Fault(path, message))
        return None

    def passed_over(self, path: str, message: str) -> Condition | None:
        """Notes what earlier releases accepted without giving it a meaning; None as well."""
        return None if self.is_stored else self.fault(path, message)

    def only(self, given: Mapping[str, Any], path: str, *known: str, stored_too: bool = True) -> None:
        """A misspelled key must not silently widen a segment."""
        note = self.fault if stored_too else self.passed_over
        for key in sorted(set(map(str, given)) - set(known)):
            note(f"{path}.{key}", f"this is not known here: there are {', '.join(known)}")

    def comparison(
        self, given: Mapping[str, Any], path: str, kind: Kind, allowed: Set[Operator], what: str
    ) -> Comparison | None:
        """``operator`` and ``value`` of an object, checked against what ``what`` can be compared with."""
        operator = given.get("operator")
        if operator not in _OPERATORS:
            there_are = ", ".join(name for name in _OPERATORS if name in allowed)
            self.fault(f"{path}.operator", f"there is no operator {operator!r}: there are {there_are}")
            return None
        if operator not in allowed:
            self.fault(f"{path}.operator", f"{operator} does not apply to {what}")
            return None
        try:
            return comparison(kind, cast(Operator, operator), given.get("value", MISSING))
        except BadValue as error:
            self.fault(f"{path}.value", str(error))
            return None


def group(
    reader: Reader, given: Mapping[str, Any], path: str, read: Callable[[Any, str], Condition | None]
) -> Condition | None:
    """An AND, OR or NOT over ``conditions``; NOT over several means that none of them holds."""
    reader.only(given, path, "operator", "conditions")
    operator, items = given.get("operator", "AND"), given["conditions"]
    if operator not in GROUPS:
        reader.fault(f"{path}.operator", f"there is no group {operator!r}: there are {', '.join(GROUPS)}")
    if not isinstance(items, list) or not 1 <= len(items) <= _LONGEST_GROUP:
        reader.fault(f"{path}.conditions", f"give a list of 1 to {_LONGEST_GROUP} conditions")
        return None
    read_items = [read(item, f"{path}.conditions[{index}]") for index, item in enumerate(items)]
    conditions = tuple(condition for condition in read_items if condition is not None)
    match operator:
        case "AND":
            return And(conditions)
        case "OR":
            return Or(conditions)
    return Not(conditions[0] if len(conditions) == 1 else Or(conditions)) if conditions else None
