"""The engine's texts as ClickHouse would answer them."""

from __future__ import annotations

import pytest

from cdp_devstack.clickhouse.failures import ClickHouseError


@pytest.mark.parametrize(
    ("text", "status", "body"),
    [
        (
            "Code: 60. DB::Exception: Table nope does not exist. Maybe you meant x?. (UNKNOWN_TABLE)",
            404,
            "Code: 60. DB::Exception: Table nope does not exist. Maybe you meant x? (UNKNOWN_TABLE) (version 1.2)\n",
        ),
        (
            "Code: 115. DB::Exception: Code: 115. DB::Exception: Unknown setting 'foo'. (UNKNOWN_SETTING) "
            "(version 26.9.2.1). (UNKNOWN_SETTING)",
            404,
            "Code: 115. DB::Exception: Unknown setting 'foo'. (UNKNOWN_SETTING) (version 1.2)\n",
        ),
        (
            "Code: 159. DB::Exception: Timeout exceeded: elapsed 1000.080 ms, maximum: 1000.000 ms. (TIMEOUT_EXCEEDED)",
            408,
            "Code: 159. DB::Exception: Timeout exceeded: elapsed 1000.080 ms, maximum: 1000.000 ms. "
            "(TIMEOUT_EXCEEDED) (version 1.2)\n",
        ),
        (
            "something else",
            500,
            "Code: 1002. DB::Exception: something else. (UNKNOWN_EXCEPTION) (version 1.2)\n",
        ),
    ],
)
def test_texts_become_answers(text: str, status: int, body: str) -> None:
    error = ClickHouseError.from_engine(text)
    assert (error.status, error.body("1.2")) == (status, body)
