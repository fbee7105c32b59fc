"""Outgoing messages -> Kafka: an idempotent, acks=all producer that replaces itself when its sender dies."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaError,
    MessageSizeTooLargeError,
    UnsupportedVersionError,
)

from cdp_eventlog.brokers import Brokers
from cdp_eventlog.compression import compress_soon
from cdp_eventlog.diagnosis import diagnose
from cdp_eventlog.log import LogUnavailable, MessageTooLarge, Outgoing
from cdp_eventlog.rounds import Rounds

_log = logging.getLogger(__name__)
_CONNECT_PAUSE = 0.5
_CONNECT_SECONDS = 3.0


class KafkaProducer:
    """The Producer port on aiokafka.

    aiokafka's sender task ends for good on some errors (aiokafka issue 1017) and every later send then fails; so any
    failed publish marks the producer as suspect, and a new one is tried for until there is one. That does not wait for
    the next publish: whoever is not ready is sent nothing that he could publish.
    """

    def __init__(
        self,
        brokers: Brokers,
        *,
        client_id: str,
        max_batch_size: int = 512 * 1024,
        timeout: float = 15.0,
        compression: str | None = "zstd",
        max_request_size: int = 8 * 1024 * 1024,
    ) -> None:
        compress_soon()
        self._brokers = brokers
        self._timeout = timeout
        self._options: dict[str, Any] = {
            "client_id": client_id,
            "acks": "all",
            "max_batch_size": max_batch_size,
            "max_request_size": max_request_size,
            "compression_type": compression,
            # the broker must have given up before the caller is told so: no ghost delivery after an error
            "request_timeout_ms": int(timeout * 1000 * 0.6),
        }
        self._max_message = max_request_size - 1024
        self._idempotent = True
        self._producer: AIOKafkaProducer | None = None
        self._rounds: Rounds | None = None
        self._fault: str | None = "not connected to Kafka yet"
        self._connecting: asyncio.Task[None] | None = None
        self._returning: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        while not self._stopping:
            try:
                await self._ready()
                return
            except LogUnavailable:
                await asyncio.sleep(_CONNECT_PAUSE)

    async def stop(self) -> None:
        self._stopping = True
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.wait({self._returning})
        if self._connecting is not None:
            await asyncio.wait({self._connecting})
        producer, self._producer = self._producer, None
        rounds, self._rounds = self._rounds, None
        if rounds is not None:
            await rounds.drain()
        if producer is not None:
            await _discard(producer)

    def fault(self) -> str | None:
        return self._fault

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        if not messages:
            return
        for message in messages:
            if len(message.value) > self._max_message:
                raise MessageTooLarge(f"a message of {len(message.value)} bytes for {message.topic} is too large")
        rounds = await self._ready()
        try:
            await rounds.publish(messages)
        except MessageSizeTooLargeError as error:
            raise MessageTooLarge(str(error)) from error
        except (KafkaError, OSError, TimeoutError, asyncio.InvalidStateError) as error:
            self._suspect(rounds, error)
            raise LogUnavailable(self._fault or "Kafka is unavailable") from error

    async def _ready(self) -> Rounds:
        """The live rounds; after a fault new ones, or LogUnavailable when the broker still is away.

        All callers wait for the same attempt, and none waits longer than one.
        """
        if self._rounds is not None:
            return self._rounds
        if self._stopping:
            raise LogUnavailable("this process is stopping")
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._reconnect())
        await asyncio.shield(self._connecting)
        if self._rounds is None:
            raise LogUnavailable(self._fault or "Kafka is unavailable")
        return self._rounds

    async def _reconnect(self) -> None:
        """One attempt; its outcome is in ``_rounds`` and ``_fault``."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await self._connect()
        except (KafkaError, OSError, TimeoutError) as error:
            self._fault = await diagnose(self._brokers, error)
        finally:
            self._connecting = None

    def _suspect(self, rounds: Rounds, error: BaseException) -> None:
        if self._rounds is not rounds:
            return  # another caller of the same round has done it
        self._fault = f"Kafka at {self._brokers} did not acknowledge: {str(error) or type(error).__name__}"
        producer, self._producer, self._rounds = self._producer, None, None
        if producer is not None:
            task = asyncio.ensure_future(_discard(producer))
            _discarding.add(task)
            task.add_done_callback(_discarding.discard)
        if self._returning is None or self._returning.done():
            self._returning = asyncio.create_task(self.start())

    async def _connect(self) -> None:
        producer = AIOKafkaProducer(**self._brokers.options(), enable_idempotence=self._idempotent, **self._options)
        try:
            await producer.start()
        except (UnsupportedVersionError, IncompatibleBrokerVersion):
            await _discard(producer)
            _log.warning("the broker has no idempotent producers: a retried send may be written twice")
            self._idempotent = False
            return await self._connect()
        except BaseException:
            await _discard(producer)
            raise
        self._producer, self._rounds = producer, Rounds(producer, self._timeout)
        self._fault = None
        return None


_discarding: set[asyncio.Future[None]] = set()


async def _discard(producer: AIOKafkaProducer) -> None:
    """Ends a producer that may be broken, without ever raising.

    Its own ``stop`` would first wait for what is never acknowledged, and a sender that is left behind would write it
    when the broker is back, long after the caller was told that it failed.
    """
    producer._closed = True
    try:
        async with asyncio.timeout(5.0):
            await producer._sender.close()
            await producer.client.close()
    except (KafkaError, OSError, TimeoutError, AssertionError, asyncio.InvalidStateError) as error:
        _log.debug("closing a broken producer: %s", error)
