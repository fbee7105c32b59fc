"""A connection's bytes -> uvicorn's WebSocket protocol, for a server that looks for slow readers."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from cdp_runtime.slow_readers import Resumptions


class WebSocketProtocol(Resumptions, WebSocketsSansIOProtocol):
    """The sans-IO one: uvicorn's other one is written for an API that websockets has dropped."""
