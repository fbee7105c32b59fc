"""What an insert loads: a process that stands still for an import misses its heartbeats."""

import subprocess
import sys

_INSERT = """
import sys
from cdp_clickhouse.client import InsertContext
from clickhouse_connect.datatypes.registry import get_from_name
InsertContext("t", ["n"], [get_from_name("Int64")], [[1, 2]], column_oriented=True)
print(sorted({"numpy", "pandas"} & sys.modules.keys()))
"""


def test_an_insert_imports_neither_numpy_nor_pandas() -> None:
    done = subprocess.run([sys.executable, "-c", _INSERT], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
