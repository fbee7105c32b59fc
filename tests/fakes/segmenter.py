"""Profiles for the segmenter's tests: built in a line, or written to ClickHouse as the recorder does."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement
from cdp_schemas.nodes import node_id
from cdp_segmenter.rules.facts import Event, Facts
from cdp_segmenter.rules.times import epoch_ms

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NAMED = "anonymous_id"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)
DAY = timedelta(days=1)
# the store keeps what was sent, as the recorder asks it to: texts stay texts, a dot in a name is no path
EXACT_JSON = {
    "json_type_escape_dots_in_keys": 1,
    "type_json_skip_duplicated_paths": 1,
    "input_format_try_infer_dates": 0,
    "input_format_try_infer_datetimes": 0,
    "input_format_json_read_bools_as_numbers": 0,
    "input_format_json_read_bools_as_strings": 0,
}


def profile_id(name: str) -> UUID:
    return uuid5(UUID(int=0), name)


def profile(name: str = "ada", **facts: Any) -> Facts:
    """A profile; everything not said is empty."""
    return Facts(profile_id(name), **{"first_seen": LONG_AGO, "last_seen": LONG_AGO, **facts})


def did(name: str, ago: timedelta = DAY, /, **properties: Any) -> Event:
    """An event that long before NOW."""
    return Event(name, NOW - ago, properties)


def node_of(workspace: str, profile: UUID) -> UUID:
    """The node that events of a profile stay with: that of an identifier named like the profile."""
    return node_id(workspace, NAMED, str(profile))


async def write_facts(store: ClickHouse, workspace: str, profiles: Sequence[Facts]) -> None:
    """One profile row each, and its events."""
    await write_profiles(store, workspace, profiles)
    await write_events(store, workspace, [(facts.profile_id, event) for facts in profiles for event in facts.events])


async def write_profiles(store: ClickHouse, workspace: str, profiles: Sequence[Facts], version: int = 1) -> None:
    """Their rows, and those that say to whom their nodes belong from now on.

    Each is known by a name of its own, unless the facts say by which names it is.
    """
    said = [{NAMED: (str(facts.profile_id),), **facts.identifiers} for facts in profiles]
    moved = [
        (node_id(workspace, NAMED, name), facts.profile_id)
        for facts, one in zip(profiles, said, strict=True)
        for name in one[NAMED]
    ]
    await write_aliases(store, workspace, moved, version)
    rows = [
        (
            *(workspace, facts.profile_id, version, 0, 0, 0),
            *(_ms(facts.first_seen) or 0, _ms(facts.last_seen) or 0),
            {kind: list(values) for kind, values in identifiers.items()},
            *(json.dumps(facts.traits), dict(facts.consent), facts.currency, facts.ltv_minor, 0, facts.order_count),
            _ms(facts.last_order_at),
        )
        for facts, identifiers in zip(profiles, said, strict=True)
    ]
    names = (
        "workspace_id profile_id version deleted created_at updated_at first_seen last_seen identifiers traits consent"
    )
    names += " currency ltv_minor refunded_minor order_count last_order_at"
    columns = [list(column) for column in zip(*rows, strict=True)]
    token = f"{workspace}-profiles-{version}-{hash(tuple(facts.profile_id for facts in profiles))}"
    await store.insert("profiles", names.split(), columns, token=token, settings=EXACT_JSON)


async def write_events(
    store: ClickHouse, workspace: str, events: Sequence[tuple[UUID, Event]], offset: int = 0
) -> None:
    """(profile, event) pairs as stored events."""
    rows = [
        (
            *(workspace, event.name, node_of(workspace, one), epoch_ms(event.timestamp), epoch_ms(NOW)),
            *("track", str(offset + index)),
            *("source", "", "", "", json.dumps(event.properties), "{}", "{}", 0, offset + index),
        )
        for index, (one, event) in enumerate(events)
    ]
    if not rows:
        return
    names = "workspace_id event node_id timestamp received_at call message_id source_id session_id user_id anonymous_id"
    names += " properties traits context received_partition received_offset"
    columns = [list(column) for column in zip(*rows, strict=True)]
    await store.insert("events", names.split(), columns, token=f"{workspace}-events-{offset}-{len(rows)}")


async def merge_away(store: ClickHouse, workspace: str, profile: UUID, into: UUID, version: int) -> None:
    """What tells where a profile that is gone lives on: its id is that of a node."""
    await write_aliases(store, workspace, [(profile, into)], version)


async def write_aliases(store: ClickHouse, workspace: str, moved: Sequence[tuple[UUID, UUID]], version: int) -> None:
    if not moved:
        return
    nodes, owners = zip(*moved, strict=True)
    columns = [[workspace] * len(moved), nodes, owners, [version] * len(moved)]
    names = ["workspace_id", "node_id", "profile_id", "version"]
    await store.insert("profile_aliases", names, columns, token=f"{workspace}-aliases-{version}-{hash(nodes)}")


async def erase_profile(store: ClickHouse, workspace: str, profile: UUID, version: int = 9) -> None:
    """The tombstone that hides a profile."""
    await store.command(
        Statement(
            "INSERT INTO profiles (workspace_id, profile_id, version, deleted) "
            "VALUES ({w:String}, {p:UUID}, {v:UInt64}, 1)",
            {"w": workspace, "p": profile, "v": version},
        )
    )


def _ms(at: datetime | None) -> int | None:
    return None if at is None else epoch_ms(at)
