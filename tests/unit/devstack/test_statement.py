"""Where an INSERT ends and its data begins."""

from __future__ import annotations

import pytest

from cdp_devstack.clickhouse.statement import Insert, result_format, split_insert


@pytest.mark.parametrize(
    ("query", "body", "expected"),
    [
        (b"", b"INSERT INTO t FORMAT Native\n\x01\n\x02", Insert("INSERT INTO t ", "Native", b"\x01\n\x02")),
        (b"INSERT INTO t FORMAT Native", b"\x01\n", Insert("INSERT INTO t ", "Native", b"\x01\n")),
        (b"", b"INSERT INTO t FORMAT Native\n\n\x02", Insert("INSERT INTO t ", "Native", b"\n\x02")),
        (b"insert into t (a, `format x`) values", b" (1)", Insert("insert into t (a, `format x`) ", "Values", b" (1)")),
        (b"", b"INSERT INTO t VALUES (1, 'FORMAT CSV')", Insert("INSERT INTO t ", "Values", b" (1, 'FORMAT CSV')")),
        (b"", b"INSERT INTO t FORMAT VALUES (1)", Insert("INSERT INTO t ", "Values", b"(1)")),
        (
            b"",
            b"-- FORMAT CSV\nINSERT INTO t SETTINGS a = 'FORMAT x' FORMAT CSV 1,2",
            Insert("-- FORMAT CSV\nINSERT INTO t SETTINGS a = 'FORMAT x' ", "CSV", b"1,2"),
        ),
        (b"INSERT INTO t", b"FORMAT JSONEachRow {}", Insert("INSERT INTO t\n", "JSONEachRow", b"{}")),
        (
            b"INSERT INTO function null('a Int8') FORMAT CSV",
            b"1",
            Insert("INSERT INTO function null('a Int8') ", "CSV", b"1"),
        ),
    ],
)
def test_the_data_is_cut_off(query: bytes, body: bytes, expected: Insert) -> None:
    assert split_insert(query, body) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 1 FORMAT Native",
        b"INSERT INTO t SELECT 1",
        b"INSERT INTO t (a) WITH 1 AS x SELECT x",
        b"INSERT INTO t",
        b"CREATE TABLE t (a Int8)",
        b"",
    ],
)
def test_what_brings_no_data_is_left_alone(text: bytes) -> None:
    assert split_insert(b"", text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1\n FORMAT Native", "Native"),
        ("SELECT 1 format JSON SETTINGS max_threads = 1;", "JSON"),
        ("SELECT 'FORMAT CSV'", None),
        ("SELECT format('{}', 1)", None),
    ],
)
def test_the_format_a_query_asks_for(text: str, expected: str | None) -> None:
    assert result_format(text) == expected


def test_an_insert_can_read_its_data_from_a_file():
    insert = split_insert(b"INSERT INTO t (`SETTINGS`) SETTINGS a = 'FROM' FORMAT Native \x01", b"")
    assert insert is not None
    assert insert.reading("/f") == "INSERT INTO t (`SETTINGS`)  FROM INFILE '/f' SETTINGS a = 'FROM'  FORMAT Native"
    plain = Insert("INSERT INTO t ", "CSV", b"1")
    assert plain.reading("/f") == "INSERT INTO t  FROM INFILE '/f'  FORMAT CSV"
