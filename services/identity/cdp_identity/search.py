"""A profile search -> SQL statements with their parameters: for a page of ids, and for how many there are in all."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import ConfigDict, Field, model_validator

from cdp_identity.identifiers import EMAIL, Spelling, normalise
from cdp_identity.shapes import Said, storable
from cdp_runtime.envelope import Wire
from cdp_schemas.money import to_minor
from cdp_schemas.nodes import node_id
from cdp_schemas.profiles import IN_ADDRESS

Query = tuple[str, list[Any]]
TOTAL_BOUND: Final = 10_000  # counted one by one no further
_PROBED: Final = 250  # profiles that are looked at first, in the order of their ids
_COMMON: Final = 3  # as many of them satisfy a search for which a walk goes on
_PASSED: Final = 100  # profiles that a walk looks at for each that it is to find
_SURE: Final = 10  # ids that say how far they are from one another on the whole
_LARGE: Final = 100_000  # profiles of a workspace whose first ones are searched before all are
_TELLING: Final = 50  # found among the first ones, they tell how many there are in all to within a seventh
_START: Final = UUID(int=0)  # before every id
FIRST_END: Final = UUID(int=1 << 125)  # an eighth of all ids come before it, and have indexes of their own
_NEXT: Final = """(
    SELECT * FROM identity.workspace_profiles WHERE workspace_id = %s AND profile_id > %s
    ORDER BY workspace_id, profile_id LIMIT %s)"""
_TRAIT: Final = re.compile(r"attributes\.(?:customFields\.)?(.+)")
_LONGEST_PATH: Final = 200  # characters; as in the rules of segments
_CONSENT: Final = re.compile(r"(\w+)Consent")
_MOST: Final = 100  # traits and purposes of a search: each is a condition, and Postgres takes 65,535 parameters


class ProfileSearch(Wire):
    """Conditions that must all hold. Besides the named ones: ``attributes.<trait>`` and ``<purpose>Consent``."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"country": "GB", "tags": ["vip"], "minLtv": 1000, "emailConsent": True}]},
    )

    email: str | None = Field(None, min_length=1, max_length=254, description="an address, or a part of one")
    country: str | None = None
    tags: list[str] = Field(default_factory=list, max_length=20)
    min_ltv: Decimal | None = None
    max_ltv: Decimal | None = None
    attributes: Said = Field(default_factory=dict)
    limit: int = Field(50, ge=1, le=1000)
    cursor: str | None = None
    offset: int = Field(0, ge=0, le=10_000)

    @model_validator(mode="after")
    def _only_known(self) -> "ProfileSearch":
        if len(self.attributes) + len(self.__pydantic_extra__ or {}) > _MOST:
            raise ValueError(f"a search names at most {_MOST} traits and purposes")
        for name, value in (self.__pydantic_extra__ or {}).items():
            if _TRAIT.fullmatch(name):
                storable({name: value})
                continue
            if not _CONSENT.fullmatch(name):
                raise ValueError(f"{name} is no condition: use a named one, attributes.<trait> or <purpose>Consent")
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be true or false")
        return self

    def traits(self) -> dict[str, Any]:
        """Trait -> the value it must have."""
        extra = (self.__pydantic_extra__ or {}).items()
        dotted = {found[1]: value for name, value in extra if (found := _TRAIT.fullmatch(name))}
        return {**self.attributes, **dotted}

    def consents(self) -> dict[str, bool]:
        """Purpose -> whether it must be allowed."""
        extra = (self.__pydantic_extra__ or {}).items()
        return {found[1]: value for name, value in extra if (found := _CONSENT.fullmatch(name))}


@dataclass(frozen=True, slots=True)
class Found:
    """One page of ids, in their order; how many there are on all pages; and whether a page follows.

    A total that is not exact is an estimate.
    """

    ids: list[UUID]
    total: int
    is_exact: bool
    is_more: bool


@dataclass(frozen=True, slots=True)
class Probed:
    """Ids of all that satisfy a search among the next profiles, and the last of these; None: no more follow."""

    ids: list[UUID]
    last: UUID | None

    def promises(self, wanted: int, after: UUID | None) -> bool:
        """Whether a walk from here on is likely to find as many, and they are too many to be counted."""
        met = len(self.ids)
        if self.last is None or not _COMMON <= met < wanted:
            return False
        return is_beyond(met * estimate(_PROBED, self.last, after) // _PROBED)

    def is_of_many(self, after: UUID | None) -> bool:
        """Whether the workspace is so large that its first profiles tell enough, and there are such after ``after``."""
        early = after is None or after < FIRST_END
        return early and self.last is not None and estimate(_PROBED, self.last, after) > _LARGE


def is_beyond(total: int) -> bool:
    """Whether that is more than is counted."""
    return total > TOTAL_BOUND


def tells(found: int, wanted: int) -> bool:
    """Whether so many among the first profiles fill the page and tell how many there are in all."""
    return found >= max(wanted, _TELLING)


def estimate(rank: int, last: UUID, after: UUID | None) -> int:
    """How many there are in all, to two digits, when the ``rank``-th of those after ``after`` is ``last``; 0: too few.

    Ids are hashes, so the n-th smallest of N lies near n/N of all there could be (the mean of (n - 1) / share is N).
    """
    share = (last.int - (after or _START).int) / 2**128
    return int(float(f"{(rank - 1) / share:.2g}")) if rank >= _SURE else 0


def estimate_beyond(rank: int, last: UUID | None, after: UUID | None) -> int:
    """How many there are when they are more than is counted; without a ``last`` no id tells anything."""
    return max(TOTAL_BOUND, estimate(rank, last, after) if last else 0)


class Conditions:
    """The WHERE of a search, parameters beside it. Few satisfy one with an address, whole or in part."""

    def __init__(self, workspace_id: str, *, has_address: bool = False) -> None:
        self.has_address = has_address
        self._workspace_id = workspace_id
        self._sql = ["p.workspace_id = %s AND p.version > 0"]
        self._parameters: list[Any] = [workspace_id]
        self._amounts: list[tuple[str, int]] = []

    def add(self, sql: str, *parameters: Any) -> None:
        self._sql.append(sql)
        self._parameters += parameters

    def add_amount(self, comparison: str, minor: int) -> None:
        """Compares the revenue that a profile has brought, in minor units."""
        self._amounts.append((comparison, minor))

    def probe(self, after: UUID | None) -> Query:
        """One row: ids of all that are found among the next profiles in the order of the ids, and the last of these."""
        sql, parameters = self._walk(after, _PROBED, _PROBED)
        return (
            f"SELECT ARRAY({sql}), (SELECT profile_id FROM identity.workspace_profiles "  # noqa: S608
            "WHERE workspace_id = %s AND profile_id > %s ORDER BY workspace_id, profile_id LIMIT 1 OFFSET %s)",
            [*parameters, self._workspace_id, after or _START, _PROBED - 1],
        )

    def walk(self, wanted: int, after: UUID | None) -> Query:
        """The next ids in their order, as far as they are among so many profiles that a common search finds them there.

        However wrong the planner's guess would have been of how many satisfy several conditions.
        """
        return self._walk(after, _PASSED * wanted, wanted)

    def first(self, limit: int, offset: int, after: UUID | None) -> Query:
        """One row: how many there are after ``after`` among the first profiles, and a page of them.

        The sum is what the small index of the first profiles' amounts is over, and no large one.
        """
        ids = f"{self._ids(amount='p.ltv_minor + 0')} AND p.profile_id < '{FIRST_END}' AND p.profile_id > %s"
        return self._counted(ids, [*self._bound(), after or _START], limit, offset, after)

    def some(self, limit: int, offset: int, after: UUID | None) -> Query:
        """One row: how many there are, counted no further than one beyond the bound, and the page that these make.

        The page is right when that is all of them; they are taken in whatever order is quickest.
        """
        return self._counted(f"{self._ids()} LIMIT %s", [*self._bound(), TOTAL_BOUND + 1], limit, offset, after)

    def page(self, limit: int, offset: int, after: UUID | None) -> Query:
        """Ids of one page, in the order of the ids; one more than the page shows whether there is a next one."""
        return (
            f"{self._ids()} AND p.profile_id > %s ORDER BY p.profile_id LIMIT %s OFFSET %s",
            [*self._bound(), after or _START, limit + 1, offset],
        )

    def _walk(self, after: UUID | None, passed: int, wanted: int) -> Query:
        parameters = [self._workspace_id, after or _START, passed, *self._bound(), wanted]
        return f"{self._ids(_NEXT)} ORDER BY p.profile_id LIMIT %s", parameters

    def _counted(self, found: str, parameters: list[Any], limit: int, offset: int, after: UUID | None) -> Query:
        return (
            f"WITH found AS MATERIALIZED ({found}) SELECT (SELECT count(*) FROM found), ARRAY("  # noqa: S608
            "SELECT profile_id FROM found WHERE profile_id > %s ORDER BY profile_id LIMIT %s OFFSET %s)",
            [*parameters, after or _START, limit + 1, offset],
        )

    def _ids(self, source: str = "identity.workspace_profiles", amount: str = "p.ltv_minor") -> str:
        which = " AND ".join([*self._sql, *(f"{amount} {comparison} %s" for comparison, _ in self._amounts)])
        return f"SELECT p.profile_id FROM {source} AS p WHERE {which}"  # noqa: S608 -- own constants

    def _bound(self) -> list[Any]:
        return [*self._parameters, *(minor for _, minor in self._amounts)]


class BadAmount(ValueError):
    """What a search has at ``path`` is no amount of money."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path


def conditions(workspace_id: str, search: ProfileSearch, currency: str, spelling: Spelling) -> Conditions:
    """The search's conditions. Raises BadAmount."""
    found = Conditions(workspace_id, has_address=search.email is not None)
    if search.email is not None:
        _email(found, workspace_id, search.email, spelling)
    for path, comparison, amount in (("minLtv", ">=", search.min_ltv), ("maxLtv", "<=", search.max_ltv)):
        if amount is not None:
            try:
                found.add_amount(comparison, to_minor(amount, currency))
            except ValueError as error:
                raise BadAmount(path, str(error)) from error
    if search.min_ltv is not None and search.min_ltv > 0:
        found.add("p.order_count > 0")  # lets the indexes of buyers serve
    consents = search.consents()
    for purpose, granted in consents.items():
        if not granted:
            found.add("coalesce(NOT p.consent @> %s, true)", Jsonb({purpose: True}))
    _said(found, search, {purpose: True for purpose, granted in consents.items() if granted})
    return found


def _said(found: Conditions, search: ProfileSearch, granted: Mapping[str, bool]) -> None:
    """What the index of traits and consents answers as a whole: the planner would misjudge its parts together."""
    places: list[dict[str, Any]] = [{}]
    if search.country is not None:
        places = _places("country", search.country)
    wanted = {"tags": search.tags} if search.tags else {}
    for trait, value in search.traits().items():
        own = _places(trait, value)
        # said of one trait twice, both must hold
        if trait in wanted or trait == "address" or len(own) > 1:
            found.add(f"({' OR '.join(['p.traits @> %s'] * len(own))})", *map(Jsonb, own))
        else:
            wanted[trait] = value
    ways = [{"traits": place | wanted, "consent": granted} for place in places]
    parts = [[(column, Jsonb(said)) for column, said in way.items() if said] for way in ways]
    if any(parts):
        either = (" AND ".join(f"p.{column} @> %s" for column, _ in part) for part in parts)
        found.add(f"({' OR '.join(either)})", *(said for part in parts for _, said in part))


def _places(trait: str, value: Any) -> list[dict[str, Any]]:
    """Where a trait may be: under its name, below the keys of its path, in the address that Segment reserves for it."""
    found: list[dict[str, Any]] = [{trait: value}]
    if "." in trait and len(trait) <= _LONGEST_PATH:
        found.append(reduce(lambda inner, key: {key: inner}, reversed(trait.split(".")), value))
    if trait in IN_ADDRESS:
        found.append({"address": {trait: value}})
    return found


def _email(found: Conditions, workspace_id: str, text: str, spelling: Spelling) -> None:
    whole = normalise(EMAIL, text, spelling)
    if whole is not None:
        found.add(
            "p.profile_id = (SELECT profile_id FROM identity.nodes WHERE workspace_id = %s AND node_id = %s)",
            workspace_id,
            node_id(workspace_id, EMAIL, whole),
        )
        return
    part = text.strip().lower()
    pattern = "%" + part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    has_parts = " AND identity.parts(value) @> identity.parts(%s)" if len(part) >= 3 else ""
    found.add(
        "p.profile_id IN (SELECT profile_id FROM identity.workspace_nodes "  # noqa: S608 -- own constants
        f"WHERE workspace_id = %s AND kind = 'email' AND value LIKE %s{has_parts})",
        *([workspace_id, pattern, part] if has_parts else [workspace_id, pattern]),
    )
