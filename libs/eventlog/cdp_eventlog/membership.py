"""A consumer group -> without the dead processes whose place this one takes: nobody waits until their sessions end.

A member that died without leaving keeps its partitions until the broker has missed its heartbeats for a whole session.
So each member's client id says which process it is, and a process that joins tells the broker which members of its own
host are dead. A container that is started again keeps its host's name, and each replica has another one.

Kafka's static membership would need an id that only one process has, and aiokafka (0.14) tells it when it joins but not
with heartbeats: two processes with one id would take it from each other for ever. Here a living member that is taken
for dead (two containers must share a name for that) joins again, and what it had open is fenced as in any rebalance.
"""

import asyncio
import logging
import os
import secrets
import socket
from typing import Final

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.group import LeaveGroupRequest

from cdp_eventlog.brokers import Brokers

_log = logging.getLogger(__name__)
SESSION_SECONDS = 6.0  # the shortest that brokers allow by default; for it a silent member keeps its partitions
HEARTBEAT_SECONDS: Final = 1.5
_LOOK_SECONDS: Final = 0.05
_START: Final = secrets.token_hex(3)  # an earlier process may have had our pid: in containers it always has


def client_id(group: str) -> str:
    """The name of this process in the group."""
    return f"{_place(group)}.{os.getpid()}.{_START}"


def is_dead(member: str, group: str) -> bool:
    """Whether a member of this client id is a process of this host that is no more."""
    place, *process = member.rsplit(".", 2)
    if place != _place(group) or len(process) != 2 or not process[0].isdecimal():
        return False
    pid, start = int(process[0]), process[1]
    if pid == os.getpid():
        return start != _START
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return True
    except OSError:
        return False  # somebody else's
    return False


async def remove_dead(brokers: Brokers, group: str) -> None:
    """Runs beside joining the group; returns when no dead process of this host is in it.

    It waits for a rebalance to begin, normally with our own join: if the last member left before that, the broker would
    make us wait for others to come (`group.initial.rebalance.delay.ms`). Never raises Kafka's errors: without it, the
    end of the session is waited for.
    """
    client = AIOKafkaClient(**brokers.options(), client_id=client_id(group))
    try:
        await client.bootstrap()
        coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
        while True:
            state, dead = await _dead(client, coordinator, group)
            if not dead:
                return
            if state == "PreparingRebalance":
                for member in dead:
                    _log.info("%s left group %s without telling", member, group)
                    await client.send(coordinator, LeaveGroupRequest(group, member))
            await asyncio.sleep(_LOOK_SECONDS)
    except (KafkaError, OSError) as error:
        _log.info("group %s may wait for dead members: %s", group, str(error) or type(error).__name__)
    finally:
        await client.close()


def _place(group: str) -> str:
    return f"{group}.{socket.gethostname()}"


async def _dead(client: AIOKafkaClient, coordinator: int, group: str) -> tuple[str, list[str]]:
    """The group's state, and the member ids of its dead."""
    described = (await client.send(coordinator, DescribeGroupsRequest([group]))).groups[0]
    code, _, state, _, _, members = described[:6]
    if code:
        raise for_code(code)()
    return state, [member_id for member_id, name, *_ in members if is_dead(name, group)]
