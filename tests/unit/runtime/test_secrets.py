"""Sealed credentials open only with their key and in their place."""

import pytest

from cdp_runtime.secrets import CannotOpen, SecretBox, fingerprint

BOX = SecretBox("k" * 32)


def test_sealed_opens_again() -> None:
    sealed = BOX.seal({"accessToken": "canary"}, "demo/destination-1")
    assert b"canary" not in sealed
    assert BOX.open(sealed, "demo/destination-1") == {"accessToken": "canary"}
    assert BOX.seal({"a": 1}) != BOX.seal({"a": 1})


def test_another_key_place_or_byte_does_not_open() -> None:
    sealed = BOX.seal({"a": 1}, "demo/1")
    for box, data, place in (
        (SecretBox("x" * 32), sealed, "demo/1"),
        (BOX, sealed, "demo/2"),
        (BOX, sealed[:-1] + bytes([sealed[-1] ^ 1]), "demo/1"),
        (BOX, b"", "demo/1"),
    ):
        with pytest.raises(CannotOpen):
            box.open(data, place)


def test_a_fingerprint_tells_keys_apart_and_opens_nothing() -> None:
    assert fingerprint("k" * 32) == fingerprint("k" * 32) != fingerprint("x" * 32)
    with pytest.raises(CannotOpen):
        SecretBox(fingerprint("k" * 32).hex()).open(BOX.seal({"a": 1}))
