"""Messages survive the wire, raw parts untouched, and what is no message says where."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from msgspec import Raw

from cdp_schemas.codec import Codec, InvalidMessage
from cdp_schemas.events import IdentifiedEvent, ReceivedEvent
from cdp_schemas.nodes import node_id
from cdp_schemas.profiles import parse_profile_ref, profile_ref

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_raw_parts_keep_their_bytes() -> None:
    properties = b'{"b": 1.10,  "a":[ 1 ]}'
    event = ReceivedEvent("w", "s", "m", "track", NOW, NOW, event="E", properties=Raw(properties))
    codec = Codec(ReceivedEvent)
    again = codec.decode(codec.encode(event))
    assert bytes(again.properties) == properties
    assert (again.received_at, again.event, bytes(again.traits)) == (NOW, "E", b"{}")


def test_an_identified_event_is_a_received_one_with_a_prefix() -> None:
    event = Codec(ReceivedEvent).encode(ReceivedEvent("w", "s", "m", "track", NOW, NOW, event="E"))
    node = node_id("w", "user_id", "ada")
    prefix = f'{{"nodeId":"{node}","receivedPartition":1,"receivedOffset":42,"outcome":"stored",'.encode()
    identified = Codec(IdentifiedEvent).decode(prefix + event[1:])
    assert (identified.node_id, identified.received_offset, identified.event) == (node, 42, "E")


def test_the_fault_names_its_path() -> None:
    with pytest.raises(InvalidMessage, match="receivedAt"):
        Codec(ReceivedEvent).decode(
            b'{"workspaceId":"w","sourceId":"s","messageId":"m","type":"track","receivedAt":5,"timestamp":"x"}'
        )


def test_nodes_are_told_apart_by_workspace_kind_and_value() -> None:
    nodes = {node_id(w, k, v) for w in ("a", "b") for k in ("user_id", "email") for v in ("x", "y")}
    assert len(nodes) == 8
    assert node_id("demo", "user_id", "ada") == UUID(hex=node_id("demo", "user_id", "ada").hex)


def test_a_profile_reference_reads_back() -> None:
    profile = node_id("demo", "user_id", "ada")
    assert parse_profile_ref(profile_ref(profile)) == profile
    assert [parse_profile_ref(ref) for ref in ("", "profile-", "profile-xyz", "node-" + "0" * 32, profile.hex)] == [
        None
    ] * 5
