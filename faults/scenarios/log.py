"""The log fails or repeats: a cut broker, lost acknowledgements, clients that send again, positions set back."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError

from cdp_devstack.parts import Part
from cdp_schemas.topics import EVENTS_IDENTIFIED, EVENTS_RECEIVED, all_topics
from faults.proxy import Trouble
from faults.stack import FLOW, Stack, until
from faults.trial import Trial, fault

_PRODUCE = b"\0\0"  # the key of the request, after its length


def is_produce(data: bytes) -> bool:
    """A request of the gateway that writes to the log."""
    return data[4:6] == _PRODUCE and b"cdp-ingest" in data[:64]


@fault("F5", "the broker cut off, and killed, under load", *FLOW)
def broker_goes(trial: Trial) -> None:
    stack = trial.stack
    with trial.load():
        stack.proxies.cut(stack.kafka)
        time.sleep(1)  # for answers that were on their way
        accepted = trial.proof.accepted
        time.sleep(4)
        trial.demand(trial.proof.accepted == accepted, "events were accepted that no broker could have")
        stack.proxies.heal(stack.kafka)
        trial.proof.grows(100, 90)
        stack.parts.kill(Part.KAFKA)
        trial.kills += 1
        stack.parts.restart(Part.KAFKA)
        trial.proof.grows(100, 90)
    trial.notes.append(f"{trial.proof.outages} calls were not answered")


@fault("F6", "the broker writes and its acknowledgement is lost", *FLOW)
def lost_acknowledgements(trial: Trial) -> None:
    proxy = trial.stack.kafka
    with trial.load():
        for _ in range(trial.effort.of(5)):
            before = proxy.struck
            proxy.trouble = Trouble(lose_reply_to=is_produce, times=1)
            until("an acknowledgement is lost", lambda b=before: proxy.struck > b, 60)  # type: ignore[misc]
            time.sleep(trial.chance.uniform(0.2, 1.0))
        proxy.trouble = Trouble()


@fault("F14", "clients send everything three times more, positions are set back to the beginning", *FLOW)
def repeats(trial: Trial) -> None:
    stack = trial.stack
    with trial.load():
        trial.proof.grows(200)
    again = sum(trial.proof.resend() for _ in range(3))
    trial.demand(again > 0, "the gateway took none of the repeats")
    set_back_all(stack)
    with trial.load():
        trial.proof.grows(50)  # behind everything that is read again: once it is stored, so was the rest


def set_back_all(stack: Stack) -> None:
    """The broker forgets how far the resolver and the recorder were: both are told to begin at 0."""
    for service, topic in (("resolver", EVENTS_RECEIVED), ("recorder", EVENTS_IDENTIFIED)):
        stack.end(service)
        asyncio.run(_set_back(stack.urls[Part.KAFKA], service, topic))
        stack.start(service)


async def _set_back(bootstrap: str, group: str, topic: str) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in range(all_topics()[topic].partitions)]
    await consumer.start()
    try:
        consumer.assign(partitions)
        await _committed(consumer, dict.fromkeys(partitions, 0))
    finally:
        await consumer.stop()


async def _committed(consumer: AIOKafkaConsumer, positions: dict[TopicPartition, int]) -> None:
    """A member that was killed keeps its place in the group until its session ends, and nobody else may commit."""
    end = time.monotonic() + 30
    while True:
        try:
            await consumer.commit(positions)
            return
        except CommitFailedError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.5)
