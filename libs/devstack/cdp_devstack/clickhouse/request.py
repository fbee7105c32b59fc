"""ClickHouse's HTTP interface, the asking half: URL, headers and body in, one Question out."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from cdp_devstack.clickhouse.compression import decompress
from cdp_devstack.clickhouse.failures import NOT_IMPLEMENTED, POCO_EXCEPTION, ClickHouseError

# Names of the HTTP interface that are not settings of a query.
RESERVED = frozenset(
    "query database default_format user password quota_key query_id session_id session_timeout session_check "
    "close_session compress decompress stacktrace role buffer_size wait_end_of_query client_protocol_version "
    "framing".split()
)

# http_max_fields, http_max_field_name_size and http_max_field_value_size as a server has them; http_max_uri_size is
# 1 MiB there, and the 64 KiB of the HTTP parser here
MOST_FIELDS, LONGEST_NAME, LONGEST_VALUE = 1_000_000, 1024, 128 * 1024


@dataclass(frozen=True)
class ExternalTable:
    """A table that came along as a file of a form, to be joined with."""

    name: str
    format: str
    structure: str
    data: bytes


@dataclass(frozen=True)
class Question:
    """One request, understood but not yet judged."""

    query: bytes
    body: bytes
    database: str = ""
    default_format: str = "TabSeparated"
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[ExternalTable, ...] = ()
    session: str = ""
    query_id: str = ""
    user: str = "default"
    password: str = ""
    is_get: bool = False
    accepts: str = ""


def read_question(method: str, query_string: str, headers: Mapping[str, str], body: bytes) -> Question:
    """Put together what the URL, the headers and the body say."""
    # a server counts what stands in the URL as it stands there
    _check(field.partition("=")[::2] for field in query_string.split("&"))
    arguments = dict(parse_qsl(query_string, keep_blank_values=True, errors="surrogateescape"))
    for name in ("compress", "decompress"):
        if arguments.get(name, "0") not in ("0", "false", ""):
            raise ClickHouseError(NOT_IMPLEMENTED, f"{name}=1 is not offered here: use HTTP's content encodings")
    plain = decompress(body, headers.get("content-encoding", "").strip().lower())
    tables: dict[str, bytes] = {}
    if (kind := headers.get("content-type", "")).startswith("multipart/form-data"):
        texts, tables = read_form(plain, kind)
        _check((name, text.encode(errors="surrogateescape")) for name, text in texts.items())
        arguments, plain = {**arguments, **texts}, b""
    known = {table: _external(table, data, arguments) for table, data in tables.items()}
    names_of_tables = {f"{table}_{suffix}" for table in tables for suffix in ("format", "structure", "types")}
    user, password = _credentials(arguments, headers)
    return Question(
        query=arguments.get("query", "").encode(errors="surrogateescape"),
        body=plain,
        database=arguments.get("database") or headers.get("x-clickhouse-database", ""),
        default_format=arguments.get("default_format") or headers.get("x-clickhouse-format") or "TabSeparated",
        settings={k: v for k, v in arguments.items() if _is_setting(k) and k not in names_of_tables},
        parameters={k.removeprefix("param_"): v for k, v in arguments.items() if k.startswith("param_")},
        tables=tuple(known.values()),
        session=arguments.get("session_id", ""),
        query_id=arguments.get("query_id", ""),
        user=user,
        password=password,
        is_get=method != "POST",
        accepts=headers.get("accept-encoding", "") if arguments.get("enable_http_compression") in ("1", "true") else "",
    )


def read_form(body: bytes, content_type: str) -> tuple[dict[str, str], dict[str, bytes]]:
    """The text fields and the files of a multipart form."""
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    texts: dict[str, str] = {}
    files: dict[str, bytes] = {}
    boundary = b"--" + (found.group(1).encode() if found else b"")
    for part in (b"\r\n" + body).split(b"\r\n" + boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'\bname="([^"]*)"', head)
        if not name:
            continue
        if b"filename=" in head:
            files[name.group(1).decode()] = content
        else:
            texts[name.group(1).decode()] = content.decode(errors="surrogateescape")
    return texts, files


def _check(fields: Iterable[tuple[str, str | bytes]]) -> None:
    for number, (name, content) in enumerate(fields):
        if number == MOST_FIELDS:
            raise ClickHouseError(POCO_EXCEPTION, "HTML Form Exception: Too many form fields")
        if len(name) > LONGEST_NAME:
            raise ClickHouseError(POCO_EXCEPTION, "HTML Form Exception: Field name too long")
        if len(content) > LONGEST_VALUE:
            raise ClickHouseError(POCO_EXCEPTION, "HTML Form Exception: Field value too long")


def _is_setting(name: str) -> bool:
    return name not in RESERVED and not name.startswith("param_")


def _external(name: str, data: bytes, arguments: Mapping[str, str]) -> ExternalTable:
    structure = arguments.get(f"{name}_structure", "")
    if not structure:
        types = [kind.strip() for kind in arguments.get(f"{name}_types", "").split(",")]
        structure = ", ".join(f"_{number} {kind}" for number, kind in enumerate(types, start=1))
    return ExternalTable(name, arguments.get(f"{name}_format", "TabSeparated"), structure, data)


def _credentials(arguments: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    if "x-clickhouse-user" in headers:
        return headers["x-clickhouse-user"], headers.get("x-clickhouse-key", "")
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        user, _, password = base64.b64decode(token).decode(errors="replace").partition(":")
        return user or "default", password
    return arguments.get("user", "default"), arguments.get("password", "")
