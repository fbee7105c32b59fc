"""Messages <-> bytes: the only JSON on the wire."""

from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")
_encoder = msgspec.json.Encoder()


class InvalidMessage(ValueError):
    """The bytes are not a message of this kind and never will be: dead-letter them, do not retry."""


class Codec(Generic[T]):
    """Encoder and decoder of one message class; the decoder is built once."""

    def __init__(self, message_class: type[T]) -> None:
        self.message_class = message_class
        self._decoder = msgspec.json.Decoder(message_class)

    def decode(self, data: bytes) -> T:
        """Raises InvalidMessage with the path of the fault."""
        try:
            return self._decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidMessage(str(error)) from error

    def encode(self, message: T) -> bytes:
        return _encoder.encode(message)


def encode(message: Any) -> bytes:
    """Any message as wire bytes: camelCase JSON, timestamps RFC 3339 in UTC."""
    return _encoder.encode(message)
