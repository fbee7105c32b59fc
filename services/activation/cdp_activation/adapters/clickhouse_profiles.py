"""Profile ids -> profiles as ClickHouse shows them now."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from cdp_activation.profile import Profile, profile_of
from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement

_READ: Final = """
SELECT profile_id, version, identifiers, toJSONString(traits) AS traits, consent
FROM profiles FINAL
WHERE workspace_id = {workspace:String} AND profile_id IN {ids:Array(UUID)}
"""


class ClickHouseProfiles:
    """Implements the port ProfileReader."""

    def __init__(self, store: ClickHouse) -> None:
        self._store = store

    async def read(self, workspace_id: str, profile_ids: Sequence[UUID]) -> Mapping[UUID, Profile]:
        rows = await self._store.rows(Statement(_READ, {"workspace": workspace_id, "ids": profile_ids}))
        return {row["profile_id"]: _profile(row) for row in rows}


def _profile(row: Mapping[str, Any]) -> Profile:
    traits = msgspec.json.decode(row["traits"])
    return profile_of(row["profile_id"], row["version"], row["identifiers"], traits, row["consent"])
