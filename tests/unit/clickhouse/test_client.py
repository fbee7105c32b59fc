"""What the client costs the processes that use it."""

import subprocess
import sys

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
