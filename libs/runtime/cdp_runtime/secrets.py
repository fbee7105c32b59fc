"""Credentials <-> sealed bytes: AES-256-GCM under a key derived from CDP_SECRET_KEY, which has a fingerprint too."""

import json
import os
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_VERSION = b"\x01"


class CannotOpen(ValueError):
    """The bytes were sealed under another CDP_SECRET_KEY, or were changed."""


def fingerprint(secret_key: str) -> bytes:
    """The same for the same key, and nothing by which anything could be opened."""
    return _derived(secret_key, b"millrace fingerprint of the key")


class SecretBox:
    """Seals small JSON objects; ``context`` (for example workspace and row id) must be the same to open them."""

    def __init__(self, secret_key: str) -> None:
        self._cipher = AESGCM(_derived(secret_key, b"millrace sealed credentials"))

    def seal(self, value: Mapping[str, Any], context: str = "") -> bytes:
        nonce = os.urandom(12)
        return _VERSION + nonce + self._cipher.encrypt(nonce, json.dumps(dict(value)).encode(), context.encode())

    def open(self, sealed: bytes, context: str = "") -> dict[str, Any]:
        """Raises CannotOpen."""
        try:
            plain = self._cipher.decrypt(sealed[1:13], bytes(sealed[13:]), context.encode())
        except (InvalidTag, ValueError) as error:
            raise CannotOpen(
                "these credentials were sealed under another CDP_SECRET_KEY: set it again, for under this one the "
                "suppression list matches nobody; if it is lost, enter the credentials again and suppress again"
            ) from error
        value: dict[str, Any] = json.loads(plain)
        return value


def _derived(secret_key: str, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=purpose).derive(secret_key.encode())
