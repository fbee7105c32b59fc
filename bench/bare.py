"""The bare baseline of the gateway: a plain ASGI callable that reads a body, does the same sends, says yes."""

import argparse
import asyncio
import gc
import itertools
import json
from datetime import UTC, datetime
from typing import Any

import uvicorn
import uvloop
from aiokafka import AIOKafkaProducer

from bench import load
from cdp_eventlog.compression import compress_soon
from cdp_ingest.accept import Accepted, Arrival, accept
from cdp_runtime.server import bound

TOPIC = "bench-bare"
ANSWER = b'{"success":true}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"16")]
Message = tuple[bytes, bytes]


class Bare:
    """No auth, no decoding, no limits: what the server and the producer alone cost."""

    def __init__(self, producer: AIOKafkaProducer, messages: list[Message], sends: int) -> None:
        self._producer, self._sends = producer, sends
        self._messages = itertools.cycle(messages)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
        chosen = itertools.islice(self._messages, self._sends)
        futures = [await self._producer.send(TOPIC, value, key=key) for key, value in chosen]
        for future in futures:
            await future
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": ANSWER})


def messages(count: int, *, batched: bool) -> list[Message]:
    """Keys and values as the gateway writes them for the load's events, so that both compress and send the same."""
    now = datetime.now(UTC)
    arrival = Arrival("demo", "source-demo", now, "server", sent_at=now if batched else None)
    made = []
    for event in load.events(count):
        taken = accept(json.dumps(event).encode(), arrival, str)
        assert isinstance(taken, Accepted), taken
        made.append((taken.key, taken.value))
    return made


async def serve(bootstrap: str, port: int, sends: int) -> None:
    compress_soon()
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        max_batch_size=512 * 1024,
        compression_type="zstd",
    )
    await producer.start()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # as the gateway's processes have it
    bare = Bare(producer, messages(5000, batched=sends > 1), sends)
    config = uvicorn.Config(
        bare, http="httptools", ws="none", lifespan="off", access_log=False,
        log_level="warning", interface="asgi3", server_header=False,
    )  # fmt: skip
    listener = bound("127.0.0.1", port, variable="--port", shared=True)
    listener.listen(2048)
    await uvicorn.Server(config).serve([listener])
    await producer.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--sends", type=int, required=True)
    given = parser.parse_args()
    uvloop.install()
    asyncio.run(serve(given.bootstrap, given.port, given.sends))
