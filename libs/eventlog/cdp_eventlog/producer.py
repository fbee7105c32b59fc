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

from cdp_eventlog.log import LogUnavailable, MessageTooLarge, Outgoing

_log = logging.getLogger(__name__)
_CONNECT_PAUSE = 0.5


class KafkaProducer:
    """The Producer port on aiokafka.

    aiokafka's sender task ends for good on some errors (aiokafka issue 1017) and every later send then fails; so any
    failed publish marks the producer as suspect, and a supervisor builds a new one before the next publish.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        client_id: str,
        linger_ms: int = 5,
        max_batch_size: int = 512 * 1024,
        timeout: float = 15.0,
        compression: str | None = "lz4",
        max_request_size: int = 8 * 1024 * 1024,
    ) -> None:
        self._bootstrap = bootstrap
        self._timeout = timeout
        self._options: dict[str, Any] = {
            "client_id": client_id,
            "acks": "all",
            "linger_ms": linger_ms,
            "max_batch_size": max_batch_size,
            "max_request_size": max_request_size,
            "compression_type": compression,
            # the broker must have given up before the caller is told so: no ghost delivery after an error
            "request_timeout_ms": int(timeout * 1000 * 0.6),
        }
        self._max_message = max_request_size - 1024
        self._idempotent = True
        self._producer: AIOKafkaProducer | None = None
        self._fault: str | None = "not connected to Kafka yet"
        self._rebuild = asyncio.Lock()
        self._stopping = False

    async def start(self) -> None:
        while not self._stopping:
            try:
                await self._connect()
                return
            except (KafkaError, OSError, TimeoutError) as error:
                self._fault = f"Kafka at {self._bootstrap} does not answer: {error or type(error).__name__}"
                await asyncio.sleep(_CONNECT_PAUSE)

    async def stop(self) -> None:
        self._stopping = True
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    def fault(self) -> str | None:
        return self._fault

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        if not messages:
            return
        for message in messages:
            if len(message.value) > self._max_message:
                raise MessageTooLarge(f"a message of {len(message.value)} bytes for {message.topic} is too large")
        producer = await self._ready()
        try:
            async with asyncio.timeout(self._timeout):
                futures = [
                    await producer.send(message.topic, message.value, key=message.key, partition=message.partition)
                    for message in messages
                ]
                for future in futures:
                    await future
        except MessageSizeTooLargeError as error:
            raise MessageTooLarge(str(error)) from error
        except (KafkaError, OSError, TimeoutError, asyncio.InvalidStateError) as error:
            self._suspect(producer, error)
            raise LogUnavailable(self._fault or "Kafka is unavailable") from error

    async def _ready(self) -> AIOKafkaProducer:
        """The live producer; after a fault a new one, or LogUnavailable at once when the broker still is away."""
        producer = self._producer
        if producer is not None:
            return producer
        if self._stopping:
            raise LogUnavailable("this process is stopping")
        async with self._rebuild:
            if self._producer is None:
                try:
                    async with asyncio.timeout(3.0):
                        await self._connect()
                except (KafkaError, OSError, TimeoutError) as error:
                    self._fault = f"Kafka at {self._bootstrap} does not answer: {error or type(error).__name__}"
                    raise LogUnavailable(self._fault) from error
        assert self._producer is not None
        return self._producer

    def _suspect(self, producer: AIOKafkaProducer, error: BaseException) -> None:
        self._fault = f"Kafka at {self._bootstrap} did not acknowledge: {error or type(error).__name__}"
        if self._producer is producer:
            self._producer = None
            task = asyncio.ensure_future(_discard(producer))
            _discarding.add(task)
            task.add_done_callback(_discarding.discard)

    async def _connect(self) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, enable_idempotence=self._idempotent, **self._options
        )
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
        self._producer = producer
        self._fault = None
        return None


_discarding: set[asyncio.Future[None]] = set()


async def _discard(producer: AIOKafkaProducer) -> None:
    """Closes a producer that may be broken, without ever raising."""
    try:
        async with asyncio.timeout(5.0):
            await producer.stop()
    except (KafkaError, OSError, TimeoutError, AssertionError, asyncio.InvalidStateError) as error:
        _log.debug("closing a broken producer: %s", error)
