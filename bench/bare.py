"""The bare baseline of the gateway: a plain ASGI callable that reads a body, does the same sends, says yes."""

import argparse
import asyncio
from typing import Any

import uvicorn
import uvloop
from aiokafka import AIOKafkaProducer

TOPIC = "bench-bare"
ANSWER = b'{"success":true}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"16")]


class Bare:
    """No auth, no decoding, no limits: what the server and the producer alone cost."""

    def __init__(self, producer: AIOKafkaProducer, value: bytes, sends: int) -> None:
        self._producer, self._value, self._sends = producer, value, sends

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
        futures = [await self._producer.send(TOPIC, self._value, key=b"demo|%d" % n) for n in range(self._sends)]
        for future in futures:
            await future
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": ANSWER})


async def serve(bootstrap: str, port: int, sends: int, size: int) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        max_batch_size=512 * 1024,
        compression_type="lz4",
    )
    await producer.start()
    config = uvicorn.Config(
        Bare(producer, b"x" * size, sends), port=port, http="httptools", ws="none", lifespan="off", access_log=False,
        log_level="warning", interface="asgi3",
    )  # fmt: skip
    await uvicorn.Server(config).serve()
    await producer.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--sends", type=int, required=True)
    parser.add_argument("--size", type=int, default=700)
    given = parser.parse_args()
    uvloop.install()
    asyncio.run(serve(given.bootstrap, given.port, given.sends, given.size))
