"""chDB behind ClickHouse's HTTP interface: the forms of clickhouse-connect and curl, against the engine."""

from __future__ import annotations

import gzip
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import clickhouse_connect
import httpx
import lz4.frame
import pytest
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

pytestmark = pytest.mark.clickhouse

COLUMNS = ["id", "name", "at", "tags", "price"]
ROWS = [[i, f"name {i} é\n;'", datetime(2026, 1, 1, tzinfo=UTC), ["a", str(i)], i / 4] for i in range(10_000)]


@pytest.fixture(scope="module")
def http(clickhouse_url: str) -> Iterator[httpx.Client]:
    address = f"http://{clickhouse_url.partition('@')[2].partition('/')[0]}"
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def client(clickhouse_url: str) -> Iterator[Client]:
    client = clickhouse_connect.get_client(dsn=clickhouse_url)
    yield client
    client.close()


@pytest.fixture(scope="module")
async def async_client(clickhouse_url: str) -> AsyncIterator[AsyncClient]:
    client = await clickhouse_connect.get_async_client(dsn=clickhouse_url)
    yield client
    await client.close()


@pytest.fixture
def table(client: Client) -> Iterator[str]:
    client.command(
        "CREATE TABLE wide (id UInt64, name String, at DateTime64(3, 'UTC'), tags Array(String), "
        "price Nullable(Float64)) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000"
    )
    yield "wide"
    client.command("DROP TABLE wide")


def count(client: Client, table: str) -> Any:
    return client.command(f"SELECT count() FROM {table}")


class TestClients:
    def test_sync_client_knows_the_server(self, client: Client) -> None:
        assert client.ping()
        assert client.server_version.split(".")[0].isdigit()
        assert client.database == "cdp"

    @pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", False])
    def test_rows_come_back_as_they_went(self, clickhouse_url: str, table: str, compress: str | bool) -> None:
        client = clickhouse_connect.get_client(dsn=clickhouse_url, compress=compress, tz_mode="aware")
        summary = client.insert(table, ROWS, column_names=COLUMNS)
        assert summary.written_rows == len(ROWS)
        back = client.query(f"SELECT * FROM {table} ORDER BY id")
        assert [list(row) for row in back.result_rows] == ROWS
        assert tuple(back.column_names) == tuple(COLUMNS)

    async def test_async_client_inserts_and_streams(self, async_client: AsyncClient, table: str) -> None:
        await async_client.insert(table, ROWS, column_names=COLUMNS)
        stream = await async_client.query_row_block_stream(f"SELECT id FROM {table} ORDER BY id")
        async with stream:
            ids = [row[0] async for block in stream for row in block]
        assert ids == [row[0] for row in ROWS]

    def test_an_empty_result_is_empty(self, client: Client) -> None:
        assert client.query("SELECT number FROM numbers(0)").result_rows == []

    @pytest.mark.parametrize("value", ["", "it's", 'a"b', "tab\tline\nback\\slash", "é\U0001f600", "{x:String}"])
    def test_text_parameters_arrive_exactly(self, client: Client, value: str) -> None:
        assert client.query("SELECT {v:String}", parameters={"v": value}).result_rows == [(value,)]

    def test_long_parameters_go_through_a_form(self, client: Client) -> None:
        ids = [f"id-'{number}" for number in range(3000)]
        assert client.query(
            "SELECT length({ids:Array(String)}), {ids:Array(String)}[2]", parameters={"ids": ids}
        ).first_row == (
            3000,
            "id-'1",
        )

    def test_numbers_and_times_as_parameters(self, client: Client) -> None:
        at = datetime(2026, 5, 4, 3, 2, 1, 500000, tzinfo=UTC)
        query = "SELECT {n:UInt64} + 1, toUnixTimestamp64Milli({at_64:DateTime64(3, 'UTC')})"
        found = client.query(query, parameters={"n": 2**40, "at_64": at})
        assert found.first_row == (2**40 + 1, int(at.timestamp() * 1000))

    def test_settings_hold_for_one_query_only(self, client: Client) -> None:
        assert client.query("SELECT getSetting('max_block_size')", settings={"max_block_size": 777}).first_row == (777,)
        assert client.query("SELECT getSetting('max_block_size')").first_row != (777,)

    def test_a_session_keeps_its_temporary_table(self, clickhouse_url: str, client: Client) -> None:
        own = clickhouse_connect.get_client(dsn=clickhouse_url, session_id="mine")
        own.command("CREATE TEMPORARY TABLE kept (a UInt8)")
        own.command("INSERT INTO kept VALUES (7)")
        assert own.query("SELECT a FROM kept").first_row == (7,)
        with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
            client.query("SELECT a FROM kept")

    def test_errors_carry_code_and_name(self, client: Client) -> None:
        with pytest.raises(DatabaseError, match=r"(?s)code: 60.*UNKNOWN_TABLE") as refused:
            client.query("SELECT * FROM nowhere")
        assert refused.value.code == 60

    def test_queries_of_threads_run_side_by_side(self, http: httpx.Client) -> None:
        began = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: http.post("/", content="SELECT sleep(1)").status_code, range(4)))
        assert answers == [200] * 4
        assert time.monotonic() - began < 3

    def test_an_insert_does_not_wait_for_long_reads(self, http: httpx.Client, table: str) -> None:
        with ThreadPoolExecutor(12) as pool:
            reads = [pool.submit(http.post, "/", content="SELECT sleep(2)") for _ in range(10)]
            time.sleep(0.3)
            began = time.monotonic()
            http.post(
                "/", params={"database": "cdp"}, content=f"INSERT INTO {table} (id) VALUES (1)"
            ).raise_for_status()
            assert time.monotonic() - began < 1
            assert {read.result().status_code for read in reads} == {200}


class TestInterface:
    def test_ping_and_the_bare_address_say_ok(self, http: httpx.Client) -> None:
        for path in ("/", "/ping", "/replicas_status"):
            answer = http.get(path)
            assert (answer.status_code, answer.text) == (200, "Ok.\n")
        assert http.get("/nowhere").status_code == 404

    def test_query_in_the_url_the_body_or_both(self, http: httpx.Client) -> None:
        assert http.get("/", params={"query": "SELECT 1"}).text == "1\n"
        assert http.post("/", content="SELECT 2").text == "2\n"
        assert http.post("/", params={"query": "SELECT"}, content="3").text == "3\n"

    def test_format_headers(self, http: httpx.Client) -> None:
        answer = http.post("/", params={"query_id": "abc", "default_format": "JSON"}, content="SELECT 1 AS a")
        assert answer.json()["data"] == [{"a": 1}]
        assert answer.headers["x-clickhouse-format"] == "JSON"
        assert answer.headers["x-clickhouse-query-id"] == "abc"
        assert answer.headers["content-type"].startswith("application/json")
        assert {"x-clickhouse-server-display-name", "x-clickhouse-timezone", "x-clickhouse-summary"} <= set(
            answer.headers
        )
        assert http.post("/", content="SELECT 1 FORMAT CSV").headers["x-clickhouse-format"] == "CSV"

    @pytest.mark.parametrize(
        ("format", "data"),
        [
            ("JSONEachRow", b'{"id":1,"name":"x;\\n"}\n\n{"id":2,"name":"y"}\n'),
            ("CSV", b'1,"x;\n","2026-01-01 00:00:00",[],\\N\n2,"y","2026-01-01 00:00:00",[],1\n'),
            ("TSV", b"1\tx;\\n\t2026-01-01 00:00:00\t[]\t\\N\n2\ty\t2026-01-01 00:00:00\t[]\t1\n"),
            ("Values", b"(1,'x;\n',now(),[],NULL),(2,concat('', 'y'),now(),[],1)"),
        ],
    )
    @pytest.mark.parametrize("place", ["url", "body"])
    def test_insert_in_every_text_format(
        self, http: httpx.Client, client: Client, table: str, format: str, data: bytes, place: str
    ) -> None:
        statement = f"INSERT INTO {table} FORMAT {format}"
        if place == "url":
            answer = http.post("/", params={"query": statement, "database": "cdp"}, content=data)
        else:
            answer = http.post("/", params={"database": "cdp"}, content=statement.encode() + b"\n" + data)
        assert answer.status_code == 200, answer.text
        assert '"written_rows":"2"' in answer.headers["x-clickhouse-summary"]
        assert client.query(f"SELECT id, name FROM {table} ORDER BY id").result_rows == [(1, "x;\n"), (2, "y")]

    def test_insert_values_with_parameters(self, http: httpx.Client, client: Client, table: str) -> None:
        url = {"database": "cdp", "param_id": "5", "param_name": "it's"}
        http.post("/", params=url, content=f"INSERT INTO {table} (id, name) VALUES ({{id:UInt64}}, {{name:String}})")
        assert client.query(f"SELECT id, name FROM {table}").result_rows == [(5, "it's")]

    def test_insert_select_and_row_binary(self, http: httpx.Client, client: Client, table: str) -> None:
        url = {"database": "cdp"}
        http.post("/", params=url, content=f"INSERT INTO {table} (id) SELECT number FROM numbers(3)").raise_for_status()
        row = (9).to_bytes(8, "little") + b"\x03a\n;"
        url["query"] = f"INSERT INTO {table} (id, name) FORMAT RowBinary"
        http.post("/", params=url, content=row).raise_for_status()
        assert client.query(f"SELECT id, name FROM {table} ORDER BY id").result_rows == [
            (0, ""),
            (1, ""),
            (2, ""),
            (9, "a\n;"),
        ]

    @pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("lz4", lz4.frame.compress)])
    def test_compressed_bodies_and_answers(self, http: httpx.Client, encoding: str, pack: Any) -> None:
        query = b"SELECT repeat('x', 5000)"
        answer = http.post("/", content=pack(query), headers={"Content-Encoding": encoding})
        assert answer.text == "x" * 5000 + "\n"
        zipped = http.post("/?enable_http_compression=1", content=query, headers={"Accept-Encoding": "gzip"})
        assert zipped.headers["content-encoding"] == "gzip"
        assert zipped.text == answer.text

    @pytest.mark.parametrize(
        ("query", "url", "status", "code", "name"),
        [
            ("SELEC 1", {}, 400, 62, "SYNTAX_ERROR"),
            ("SELECT 1; SELECT 2", {}, 400, 62, "SYNTAX_ERROR"),
            ("SELECT * FROM nowhere", {}, 404, 60, "UNKNOWN_TABLE"),
            ("SELECT nothing", {}, 404, 47, "UNKNOWN_IDENTIFIER"),
            ("SELECT 1", {"database": "nowhere"}, 404, 81, "UNKNOWN_DATABASE"),
            ("SELECT 1", {"no_such_setting": "1"}, 404, 115, "UNKNOWN_SETTING"),
            ("SELECT 1 SETTINGS no_such_setting = 1", {}, 404, 115, "UNKNOWN_SETTING"),
            ("SELECT 1 FORMAT Nothing", {}, 404, 73, "UNKNOWN_FORMAT"),
            ("SELECT throwIf(1)", {}, 500, 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
            ("SELECT sum(number) FROM numbers(1e12)", {"max_execution_time": "1"}, 408, 159, "TIMEOUT_EXCEEDED"),
            ("CREATE TABLE never (a UInt8) ENGINE = Memory", {"readonly": "1"}, 500, 164, "READONLY"),
            ("SELECT 1", {"user": "stranger"}, 403, 516, "AUTHENTICATION_FAILED"),
            ("SELECT 1", {"compress": "1"}, 501, 48, "NOT_IMPLEMENTED"),
        ],
    )
    def test_refusals(
        self, http: httpx.Client, query: str, url: dict[str, str], status: int, code: int, name: str
    ) -> None:
        answer = http.post("/", params=url, content=query)
        assert answer.status_code == status, answer.text
        assert answer.headers["x-clickhouse-exception-code"] == str(code)
        assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
        assert f"({name})" in answer.text

    def test_get_only_reads(self, http: httpx.Client) -> None:
        answer = http.get("/", params={"query": "CREATE TABLE never (a UInt8) ENGINE = Memory"})
        assert answer.headers["x-clickhouse-exception-code"] == "164"

    def test_a_time_limit_counts_from_its_own_query(self, http: httpx.Client, table: str) -> None:
        """Connections are reused: a limit of one second must not be used up by the second between two queries."""
        url = {"database": "cdp", "max_execution_time": "1"}
        for _ in range(3):
            http.post("/", params=url, content=f"INSERT INTO {table} (id) VALUES (1)").raise_for_status()
            assert http.post("/", params=url, content="SELECT 1").text == "1\n"
            time.sleep(0.7)

    def test_external_tables_can_be_joined(self, http: httpx.Client) -> None:
        url = {"query": "SELECT sum(number) FROM numbers(10) WHERE number IN ids", "ids_structure": "number UInt64"}
        assert http.post("/", params=url, files={"ids": b"3\n4\n"}).text == "7\n"

    def test_ten_thousand_rows_take_milliseconds(self, http: httpx.Client, table: str) -> None:
        query = "SELECT number id, toString(number) name, now64(3) at, [name] tags, 1.5 price FROM numbers(10000)"
        block = http.post("/", content=query + " FORMAT Native").content
        url = {"database": "cdp", "query": f"INSERT INTO {table} FORMAT Native"}
        took = []
        for number in range(5):
            began = time.perf_counter()
            http.post("/", params=url | {"insert_deduplication_token": str(number)}, content=block).raise_for_status()
            took.append(time.perf_counter() - began)
        assert min(took) < 0.1


@pytest.mark.parametrize("field", ["query", "param_text"])
def test_refuses_what_is_longer_than_a_server_takes_in_a_field(http: httpx.Client, field: str):
    def asked(length: int) -> httpx.Response:
        texts = {"query": "SELECT 1", "param_text": "a"}
        texts[field] = texts[field].ljust(length)
        return http.post("/", files={name: (None, text.encode()) for name, text in texts.items()})

    assert asked(128 * 1024).text == "1\n"
    answer = asked(128 * 1024 + 1)
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (500, "1000")
    assert answer.text.startswith("Poco::Exception. Code: 1000, e.code() = 0, HTML Form Exception: Field value too lo")


def test_refuses_a_field_with_a_name_longer_than_a_server_takes(http: httpx.Client):
    assert "Field name too long" in http.post("/", content=b"SELECT 1", params={"param_" + "x" * 1024: "1"}).text


def test_refuses_a_statement_longer_than_a_server_parses_but_not_the_data_behind_one(http: httpx.Client):
    text = "'" + "x" * 262144 + "'"
    assert "Max query size exceeded" in http.post("/", content=f"SELECT {text}").text
    inserted = http.post("/", content=f"INSERT INTO FUNCTION null('text String') VALUES ({text})")
    assert inserted.status_code == 200, inserted.text
