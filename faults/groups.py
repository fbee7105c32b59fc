"""Consumer groups whose members were killed -> empty groups: the broker is told what it would notice in six seconds."""

import asyncio
from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

_SECONDS = 3.0


def leave(bootstrap: str, groups: Sequence[str]) -> None:
    """Lets every member of these groups leave. Nothing happens while the broker is away."""
    if groups:
        asyncio.run(_leave(bootstrap, groups))


async def _leave(bootstrap: str, groups: Sequence[str]) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=int(_SECONDS * 1000))
    try:
        async with asyncio.timeout(_SECONDS):
            await client.start()
            for answer in await client.describe_consumer_groups(list(groups)):
                for described in answer.groups:
                    await _all_leave(client, described)
    except (KafkaError, OSError, TimeoutError):
        pass
    finally:
        await client.close()


async def _all_leave(client: AIOKafkaAdminClient, described: Sequence[object]) -> None:
    # error, group, state, protocol type, protocol, members, …; a member begins with its id
    group, members = described[1], described[5]
    node = await client.find_coordinator(group)
    for member in members:  # type: ignore[attr-defined]
        await client._send_request(LeaveGroupRequest(group, member[0]), node)
