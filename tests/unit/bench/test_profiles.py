"""Sampled stacks -> own and cumulative time by function; command lines -> stages."""

import pytest
from bench.profiles import folded, markdown
from bench.stages import stage


def test_own_time_is_the_innermost_and_recursion_counts_once() -> None:
    found = folded(
        [
            "run (a.py:1);walk (a.py:2);walk (a.py:3) 4",
            "run (a.py:1);read (b.py:9) 6",
            "",
        ]
    )
    assert found.samples == 10
    assert found.own == {"walk (a.py)": 4, "read (b.py)": 6}
    assert found.cumulative == {"run (a.py)": 10, "walk (a.py)": 4, "read (b.py)": 6}
    assert "| 60.0% | 60.0% | `read (b.py)` |" in markdown("P5", [("ingest", found)])


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python", "bin/cdp", "run", "resolver"], "resolver"),
        (["python", "bin/cdp", "run", "analytics-api"], "analytics-api"),
        (["python", "-m", "cdp_devstack.clickhouse", "--port", "1"], "clickhouse"),
        (["/bin/postgres", "-D", "data"], "postgres"),
        (["postgres: walwriter"], "postgres"),
        (["java", "-cp", "x", "kafka.Kafka", "server.properties"], "kafka"),
        (["python", "bin/cdp", "up"], "supervisor"),
    ],
)
def test_stages(command, name) -> None:
    assert stage(command) == name
