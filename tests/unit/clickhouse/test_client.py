"""What the client costs the processes that use it, and what it says to whom."""

import asyncio
import subprocess
import sys

import pytest

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.errors import StoreUnavailable
from cdp_clickhouse.statement import Statement

INSERT = """
import sys
from clickhouse_connect.datatypes.registry import get_from_name
from clickhouse_connect.driver.insert import InsertContext
from clickhouse_connect.driver.transform import NativeTransform
import cdp_clickhouse.client

types = [get_from_name(name) for name in ("String", "DateTime64(3)", "Array(String)", "Map(String, Bool)")]
rows = [["a", "b"], [1, 2], [["x"], []], [{"ads": True}, {}]]
block = InsertContext("t", list("abcd"), types, rows, column_oriented=True, block_size=2)
assert b"".join(NativeTransform.build_insert(block))
print(sorted({"numpy", "pandas", "pyarrow", "polars"} & sys.modules.keys()))
"""


def test_an_insert_does_not_load_the_data_frames_that_happen_to_be_installed():
    done = subprocess.run([sys.executable, "-c", INSERT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("scheme", "first"), [("https", b"\x16"), ("http", b"P")])
async def test_the_password_goes_through_tls_where_the_url_says_so(scheme: str, first: bytes):
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(StoreUnavailable):
        await ClickHouse(f"{scheme}://cdp:sesame@127.0.0.1:{port}/cdp").command(Statement("SELECT 1"))
    assert heard.get_nowait() == first  # a TLS handshake, or POST
    server.close()
