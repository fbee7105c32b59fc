"""HTTP content encodings: compressed bytes in, plain bytes out, and back."""

from __future__ import annotations

import gzip
import importlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import lz4.frame

from cdp_devstack.clickhouse.failures import INCORRECT_DATA, NOT_IMPLEMENTED, ClickHouseError

SMALL = 512  # bytes that are not worth compressing


def _optional(*names: str) -> Any:
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


_zstd = _optional("compression.zstd", "backports.zstd")
_brotli = _optional("brotli")


def _lz4_decompress(data: bytes) -> bytes:
    parts = []
    while data:
        frame = lz4.frame.LZ4FrameDecompressor()
        parts.append(frame.decompress(data))
        data = frame.unused_data or b""
    return b"".join(parts)


def _decompressors() -> Mapping[str, Callable[[bytes], bytes]]:
    known: dict[str, Callable[[bytes], bytes]] = {
        "lz4": _lz4_decompress,
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
    }
    if _zstd:
        known["zstd"] = _zstd.decompress
    if _brotli:
        known["br"] = _brotli.decompress
    return known


def _compressors() -> Mapping[str, Callable[[bytes], bytes]]:
    known: dict[str, Callable[[bytes], bytes]] = {"lz4": lz4.frame.compress}
    if _zstd:
        known["zstd"] = _zstd.compress
    if _brotli:
        known["br"] = _brotli.compress
    known["gzip"] = lambda data: gzip.compress(data, 3)
    known["deflate"] = lambda data: zlib.compress(data, 3)
    return known


DECOMPRESSORS = _decompressors()
COMPRESSORS = _compressors()  # in the order of preference


def decompress(data: bytes, encoding: str) -> bytes:
    """The plain request body."""
    if encoding in ("", "identity"):
        return data
    if encoding not in DECOMPRESSORS:
        raise ClickHouseError(NOT_IMPLEMENTED, f"Unknown compression method: {encoding}")
    try:
        return DECOMPRESSORS[encoding](data)
    except Exception as broken:  # each library has its own error
        raise ClickHouseError(INCORRECT_DATA, f"The request body is not valid {encoding}: {broken}") from broken


def compress(data: bytes, accepted: str) -> tuple[bytes, str]:
    """The body to send and its content encoding (empty for none)."""
    wanted = {each.split(";")[0].strip() for each in accepted.split(",")}
    chosen = next((name for name in COMPRESSORS if name in wanted), "")
    if not chosen or len(data) < SMALL:
        return data, ""
    return COMPRESSORS[chosen](data), chosen
