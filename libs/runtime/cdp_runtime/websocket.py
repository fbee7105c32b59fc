"""A connection's bytes -> uvicorn's WebSocket protocol, for a server that looks for slow readers."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from cdp_runtime.slow_readers import Resumptions


class WebSocketProtocol(Resumptions, WebSocketsSansIOProtocol):
    """The sans-IO one: uvicorn's other one is written for an API that websockets has dropped."""

    async def send(self, message: Any) -> None:
        await super().send(message)
        # a handshake that is refused with an answer is over, too; uvicorn would log an error of the application
        self.handshake_complete = self.handshake_complete or self.close_sent
