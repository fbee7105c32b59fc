"""Compressed bodies come out whole, and never larger than a call may be."""

import gzip
import time
import zlib

import pytest

from cdp_ingest.inflate import inflate
from cdp_ingest.refusals import CallRefused

BODY = b'{"batch":[{"event":"x"}]}'
LIMIT = 1000


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (BODY, b""),
        (BODY, b"identity"),
        (gzip.compress(BODY), b"gzip"),
        (gzip.compress(BODY), b"GZIP "),
        (gzip.compress(BODY), b""),
        (gzip.compress(BODY[:9]) + gzip.compress(BODY[9:]), b"gzip"),
        (zlib.compress(BODY), b"deflate"),
        (raw_deflate(BODY), b"deflate"),
        (BODY, b"gzip"),
    ],
)
def test_every_encoding_that_sdks_use_comes_out_the_same(body: bytes, encoding: bytes) -> None:
    assert inflate(body, encoding, LIMIT) == BODY


@pytest.mark.parametrize(
    ("body", "encoding", "label"),
    [
        (gzip.compress(b"x" * 1001), b"gzip", "body_too_large"),
        (gzip.compress(b"x" * 600) * 2, b"gzip", "body_too_large"),
        (raw_deflate(b"x" * 1001), b"deflate", "body_too_large"),
        (gzip.compress(BODY)[:-9], b"gzip", "body_encoding"),
        (gzip.compress(BODY)[:-8] + bytes(4) + gzip.compress(BODY)[-4:], b"gzip", "body_encoding"),
        (b"\x1f\x8bnonsense", b"gzip", "body_encoding"),
        (b"nonsense", b"gzip", "body_encoding"),
        (b"\xff\xff\xff", b"deflate", "body_encoding"),
        (BODY, b"br", "body_encoding"),
    ],
)
def test_what_cannot_be_inflated_within_the_limit_is_refused(body: bytes, encoding: bytes, label: str) -> None:
    with pytest.raises(CallRefused) as caught:
        inflate(body, encoding, LIMIT)
    assert caught.value.refusal.label == label


def test_a_bomb_is_given_up_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self, window: int) -> None:
            self._stream = real(window)

        def decompress(self, data: bytes, most: int) -> bytes:
            asked.append(most)
            return self._stream.decompress(data, most)

    monkeypatch.setattr("cdp_ingest.inflate.zlib.decompressobj", Watched)
    with pytest.raises(CallRefused):
        inflate(gzip.compress(bytes(50_000_000)), b"gzip", LIMIT)
    assert max(asked) <= LIMIT + 1


def test_a_body_of_very_many_parts_is_given_up_soon() -> None:
    began = time.process_time()
    with pytest.raises(CallRefused) as caught:
        inflate(gzip.compress(b"") * 26_000 + gzip.compress(BODY), b"gzip", LIMIT)
    assert caught.value.refusal.label == "body_encoding"
    assert time.process_time() - began < 0.5
