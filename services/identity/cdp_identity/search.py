"""A profile search -> one SQL statement with its parameters, and the same for its bounded total."""

import re
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import ConfigDict, Field, model_validator

from cdp_identity.identifiers import EMAIL, Spelling, normalise
from cdp_runtime.envelope import Wire
from cdp_schemas.money import to_minor
from cdp_schemas.nodes import node_id

TOTAL_BOUND: Final = 10_000
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


class Conditions:
    """The WHERE of a search, parameters beside it."""

    def __init__(self, workspace_id: str) -> None:
        self._workspace_id = workspace_id
        self._sql = ["p.workspace_id = %s AND p.version > 0"]
        self._parameters: list[Any] = [workspace_id]

    def add(self, sql: str, *parameters: Any) -> None:
        self._sql.append(sql)
        self._parameters += parameters

    def page(self, limit: int, offset: int, after: UUID | None) -> tuple[str, list[Any]]:
        """Ids of one page, in the order of the ids; one more than the page shows whether there is a next one."""
        sql, parameters = list(self._sql), list(self._parameters)
        if after is not None:
            sql.append("p.profile_id > %s")
            parameters.append(after)
        text = f"SELECT p.profile_id FROM identity.workspace_profiles AS p WHERE {' AND '.join(sql)}"  # noqa: S608 -- own constants
        return f"{text} ORDER BY p.profile_id LIMIT %s OFFSET %s", [*parameters, limit + 1, offset]

    def total(self) -> tuple[str, list[Any]]:
        """How many there are, counting no further than the bound."""
        where = " AND ".join(self._sql)
        inner = f"SELECT 1 FROM identity.workspace_profiles AS p WHERE {where} LIMIT %s"  # noqa: S608 -- own constants
        return f"SELECT count(*) FROM ({inner}) AS found", [*self._parameters, TOTAL_BOUND]  # noqa: S608


def conditions(workspace_id: str, search: ProfileSearch, currency: str, spelling: Spelling) -> Conditions:
    """The search's conditions. Raises ValueError for an amount that is none."""
    found = Conditions(workspace_id)
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
