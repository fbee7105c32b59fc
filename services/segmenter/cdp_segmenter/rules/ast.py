"""The words of a rule: frozen nodes, without any behaviour. Every reading of a rule is a module beside this one."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, TypeAlias

Operator = Literal[
    "=",
    "!=",
    ">",
    "<",
    ">=",
    "<=",
    "between",
    "contains",
    "starts_with",
    "matches",
    "in",
    "not_in",
    "any",
    "all",
    "none",
    "exists",
    "within_last",
]
Quantifier = Literal["any", "all", "none"]
Aggregate = Literal["count", "sum", "first", "last"]
# what a field holds: any JSON, money in the major unit, a whole number, an instant, a text, yes/no, a set of texts
Kind = Literal["json", "money", "number", "time", "text", "flag", "names"]
Scalar: TypeAlias = str | float | bool
Value: TypeAlias = Scalar | Decimal | datetime | timedelta | tuple[Scalar | Decimal | datetime, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """An operator and what it compares with; the parser made sure that the two fit each other and the field.

    Equal values of two types are two comparisons: for Python true is 1, for a profile it is not.
    """

    operator: Operator
    value: Value

    def __eq__(self, other: object) -> bool:
        return self._typed() == other._typed() if isinstance(other, Comparison) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._typed())

    def _typed(self) -> tuple[Operator, Value, tuple[type, ...]]:
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        return self.operator, self.value, tuple(map(type, values))


@dataclass(frozen=True, slots=True)
class Field:
    """One fact of a profile: ``attributes.country`` is ``Field("attributes", "country", "json")``."""

    space: Literal["attributes", "computed", "consent", "identifiers"]
    name: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.space}.{self.name}"


@dataclass(frozen=True, slots=True)
class And:
    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Or:
    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Not:
    condition: "Condition"


@dataclass(frozen=True, slots=True)
class TraitIs:
    """A test of one fact of the profile."""

    field: Field
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class PropertyIs:
    """A test of one property of an event, or of one item of a list inside it; an empty path is the item itself."""

    path: tuple[str, ...]
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class ItemsAre:
    """Any, all or none of the items of a list property (``products[]``) satisfy a condition.

    ``all`` wants at least one item; ``none`` is the opposite of ``any``, so it holds where there is no list.
    """

    path: tuple[str, ...]
    quantifier: Quantifier
    condition: "Condition"


@dataclass(frozen=True, slots=True)
class EventCondition:
    """A test of an aggregate over the profile's events of these names, younger than ``window`` (None: ever).

    The aggregate of no events is 0 for ``count`` and ``sum`` and missing for ``first`` and ``last``.
    """

    names: tuple[str, ...]
    aggregate: Aggregate
    comparison: Comparison
    property: tuple[str, ...] = ()
    window: timedelta | None = None
    filters: "Condition | None" = None


@dataclass(frozen=True, slots=True)
class InSegment:
    """The profile is a member of another segment of the workspace."""

    segment_id: str


# conditions of a profile (TraitIs, EventCondition, InSegment) and of an event (PropertyIs, ItemsAre) share the groups
Condition: TypeAlias = And | Or | Not | TraitIs | EventCondition | InSegment | PropertyIs | ItemsAre
Rule: TypeAlias = Condition
