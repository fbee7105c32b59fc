"""Traits of every type under one name -> each read as what it was, whichever came first and however parts merge."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import pytest

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement
from cdp_segmenter.rules.json_sql import trait_column
from tests.databases import all_tables
from tests.fakes.segmenter import profile, profile_id, write_profiles

VALUES: Final = (
    *(0, False, 1, True, -1, 0.5, 2**64 - 1, "0", "false", [0], [False], [0, False], [True, 0, "x"], [0.5, None]),
    *([None, False], {"b": 0}, {"b": False}),
)
MANY: Final = {
    f"other {number}": number % 2 == 0 for number in range(300)
}  # more paths than have a column of their own


def _kept(value: Any, kind: type | tuple[type, ...]) -> Any:
    return value if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)) else None


def _as_read(value: Any) -> tuple[Any, ...]:
    items = value if isinstance(value, list) else []
    number, numbers = _kept(value, (int, float)), [_kept(item, (int, float)) for item in items]
    return (
        _kept(value, bool),
        None if number is None else float(number),
        _kept(value, str),
        [item for item in items if isinstance(item, bool)],
        sorted(float(item) for item in numbers if item is not None),
    )


@pytest.fixture
async def store(clickhouse_url: str) -> AsyncIterator[ClickHouse]:
    async with all_tables(clickhouse_url) as store:
        yield store


async def _read(store: ClickHouse, workspace: str) -> dict[UUID, tuple[Any, ...]]:
    trait = trait_column("traits", "a")
    sql = (
        f"SELECT profile_id, {trait.flag} AS flag, {trait.number} AS number, {trait.text} AS text,"
        f" {trait.flags} AS flags, {trait.numbers} AS numbers"
        " FROM profiles FINAL WHERE workspace_id = {workspace:String}"
    )
    return {
        row["profile_id"]: (
            *(row["flag"], row["number"], row["text"]),
            [item for item in row["flags"] if item is not None],
            sorted(item for item in row["numbers"] if item is not None),
        )
        for row in await store.rows(Statement(sql, {"workspace": workspace}))
    }


@pytest.mark.clickhouse
@pytest.mark.parametrize("others", [{}, MANY], ids=["a column of its own", "shared with other paths"])
async def test_a_trait_keeps_its_type(store: ClickHouse, others: Mapping[str, bool]) -> None:
    workspace = f"types-{len(others)}"
    written: dict[UUID, Any] = {}
    for turn in range(len(VALUES)):
        block = []
        for position, value in enumerate((*VALUES[turn:], *VALUES[:turn])):
            # every third row replaces one of the block before, whose trait had another type
            owner = turn - 1 if turn and position % 3 == 0 else turn
            facts = profile(traits={**(others if position == 0 else {}), "a": value})
            block.append(replace(facts, profile_id=profile_id(f"{workspace}-{owner}-{position}")))
        await write_profiles(store, workspace, block, version=turn + 1)
        written |= {facts.profile_id: facts.traits["a"] for facts in block}
    wanted = {who: _as_read(value) for who, value in written.items()}
    assert await _read(store, workspace) == wanted
    await store.command(Statement("OPTIMIZE TABLE profiles FINAL"))
    assert await _read(store, workspace) == wanted
