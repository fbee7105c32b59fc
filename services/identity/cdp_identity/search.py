"""A profile search -> SQL statements with their parameters: for a page of ids, and for how many there are in all."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import ConfigDict, Field, model_validator

from cdp_identity.identifiers import EMAIL, Spelling, normalise
from cdp_runtime.envelope import Wire
from cdp_schemas.money import to_minor
from cdp_schemas.nodes import node_id

Query = tuple[str, list[Any]]
TOTAL_BOUND: Final = 10_000  # counted one by one no further
_PROBED: Final = 1_000  # profiles that are looked at first, in the order of their ids
_PASSED: Final = 100  # profiles that a walk looks at for each that it is to find
_SURE: Final = 10  # ids that say how far they are from one another on the whole
_FIRST: Final = UUID(int=0)  # before every id
_NEXT: Final = """(
    SELECT * FROM identity.workspace_profiles WHERE workspace_id = %s AND profile_id > %s
    ORDER BY workspace_id, profile_id LIMIT %s)"""
_TRAIT: Final = re.compile(r"attributes\.(?:customFields\.)?(.+)")
_CONSENT: Final = re.compile(r"(\w+)Consent")


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
    attributes: dict[str, Any] = Field(default_factory=dict)
    limit: int = Field(50, ge=1, le=1000)
    cursor: str | None = None
    offset: int = Field(0, ge=0, le=10_000)

    @model_validator(mode="after")
    def _only_known(self) -> "ProfileSearch":
        for name, value in (self.__pydantic_extra__ or {}).items():
            if _TRAIT.fullmatch(name):
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

    A total that is not exact is an estimate, and more than TOTAL_BOUND.
    """

    ids: list[UUID]
    total: int
    is_exact: bool
    is_more: bool


def is_common(found: int) -> bool:
    """Whether as many among the probed promise that a walk finds a page."""
    return found * _PASSED >= _PROBED


def estimate(rank: int, last: UUID, after: UUID | None) -> int:
    """How many there are in all, to two digits, when the ``rank``-th of those after ``after`` is ``last``.

    Ids are hashes, so the n-th smallest of N lies near n/N of all there could be (the mean of (n - 1) / share is N).
    """
    share = (last.int - (after or _FIRST).int) / 2**128
    return max(TOTAL_BOUND, int(float(f"{(rank - 1) / share:.2g}"))) if rank >= _SURE else TOTAL_BOUND


class Conditions:
    """The WHERE of a search, parameters beside it. Few satisfy one with an address, whole or in part."""

    def __init__(self, workspace_id: str, *, has_address: bool = False) -> None:
        self.has_address = has_address
        self._workspace_id = workspace_id
        self._sql = ["p.workspace_id = %s AND p.version > 0"]
        self._parameters: list[Any] = [workspace_id]

    def add(self, sql: str, *parameters: Any) -> None:
        self._sql.append(sql)
        self._parameters += parameters

    def probe(self, after: UUID | None) -> Query:
        """Ids of all that are found among the next profiles in the order of the ids."""
        return self._walk(after, _PROBED, _PROBED)

    def walk(self, wanted: int, after: UUID | None) -> Query:
        """The next ids in their order, as far as they are among so many profiles that a common search finds them there.

        However wrong the planner's guess would have been of how many satisfy several conditions.
        """
        return self._walk(after, _PASSED * wanted, wanted)

    def some(self, limit: int, offset: int, after: UUID | None) -> Query:
        """One row: how many there are, counted no further than one beyond the bound, and the page that these make.

        The page is right when that is all of them; they are taken in whatever order is quickest.
        """
        return (
            f"WITH found AS MATERIALIZED ({self._ids()} LIMIT %s) SELECT (SELECT count(*) FROM found), ARRAY("  # noqa: S608
            "SELECT profile_id FROM found WHERE profile_id > %s ORDER BY profile_id LIMIT %s OFFSET %s)",
            [*self._parameters, TOTAL_BOUND + 1, after or _FIRST, limit + 1, offset],
        )

    def page(self, limit: int, offset: int, after: UUID | None) -> Query:
        """Ids of one page, in the order of the ids; one more than the page shows whether there is a next one."""
        return (
            f"{self._ids()} AND p.profile_id > %s ORDER BY p.profile_id LIMIT %s OFFSET %s",
            [*self._parameters, after or _FIRST, limit + 1, offset],
        )

    def _walk(self, after: UUID | None, passed: int, wanted: int) -> Query:
        parameters = [self._workspace_id, after or _FIRST, passed, *self._parameters, wanted]
        return f"{self._ids(_NEXT)} ORDER BY p.profile_id LIMIT %s", parameters

    def _ids(self, source: str = "identity.workspace_profiles") -> str:
        return f"SELECT p.profile_id FROM {source} AS p WHERE {' AND '.join(self._sql)}"  # noqa: S608 -- own constants


def conditions(workspace_id: str, search: ProfileSearch, currency: str, spelling: Spelling) -> Conditions:
    """The search's conditions. Raises ValueError for an amount that is none."""
    found = Conditions(workspace_id, has_address=search.email is not None)
    if search.email is not None:
        _email(found, workspace_id, search.email, spelling)
    if search.country is not None:
        nested = Jsonb({"address": {"country": search.country}})
        found.add("(p.traits @> %s OR p.traits @> %s)", Jsonb({"country": search.country}), nested)
    if search.tags:
        found.add("p.traits @> %s", Jsonb({"tags": search.tags}))
    if search.min_ltv is not None:
        found.add("p.ltv_minor >= %s", to_minor(search.min_ltv, currency))
        if search.min_ltv > 0:
            found.add("p.order_count > 0")  # lets the index of buyers serve
    if search.max_ltv is not None:
        found.add("p.ltv_minor <= %s", to_minor(search.max_ltv, currency))
    for trait, value in search.traits().items():
        found.add("p.traits @> %s", Jsonb({trait: value}))
    for purpose, granted in search.consents().items():
        found.add("p.consent @> %s" if granted else "coalesce(NOT p.consent @> %s, true)", Jsonb({purpose: True}))
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
