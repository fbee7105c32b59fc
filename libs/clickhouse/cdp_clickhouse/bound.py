"""A Statement -> the text of a request and the fields that its values travel in."""

import re
from array import array
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import attrgetter
from struct import pack
from typing import Any, Final
from uuid import UUID

from clickhouse_connect.driver.binding import DT64Param

from cdp_clickhouse.errors import StoreRefused
from cdp_clickhouse.statement import Statement

_LONGEST_VALUE: Final = 128 * 1024  # of one field of a request, as a server counts it unless told otherwise
# where the statement itself is too long for a field, values travel in the URL; escaped, this is the 64 KiB of most
_LONGEST_IN_URL: Final = 40 * 1024
_LISTS: Final = (list, tuple)  # `list | tuple` is made anew for each of thousands of ids
_MANY: Final = 100


@dataclass(frozen=True, slots=True)
class _Base64:
    """A text without anything to escape: of a str the driver looks at each character."""

    text: str

    def __str__(self) -> str:
        return self.text


def bound(statement: Statement) -> tuple[str, dict[str, Any] | None]:
    """The text and its values, each short enough for a field. Raises StoreRefused where no request has room for them.

    Many ids or numbers travel as their bytes. Written as text and read out of it, the ids of some thousand profiles
    take the server and us longer than all else that is asked about them.
    """
    if not statement.parameters:
        return statement.sql, None
    sql, values = statement.sql, dict[str, Any]()
    for name, content in statement.parameters.items():
        mentions = rf"\{{{name}:([^{{}}]*)\}}"
        packing = _packing(mentions, sql, content)
        parts, written = (_base64(packing(content)), _unpacked) if packing else (_parts(content), _joined)
        if len(parts) == 1 and not packing:
            values[name] = _bindable(content)
            continue
        pieces = {f"{name}__{number}": _bindable(part) for number, part in enumerate(parts)}
        values.update(pieces)
        sql = re.sub(mentions, partial(written, list(pieces)), sql)
    if len(sql) > _LONGEST_VALUE and sum(map(_size, values.values())) > _LONGEST_IN_URL:
        # a URL that is too long is answered without a code, like an outage
        raise StoreRefused(f"Max query size exceeded: {len(sql)} characters, and values that no URL has room for", 62)
    return sql, values


def _packing(mentions: str, sql: str, content: Any) -> Callable[[Sequence[Any]], bytes] | None:
    """What makes bytes of a long list, as the server keeps its elements."""
    if not isinstance(content, _LISTS) or len(content) < _MANY:
        return None
    mention = re.search(mentions, sql)
    return _PACKINGS.get(mention[1]) if mention else None


def _uuids(ids: Sequence[UUID]) -> bytes:
    halves = array("Q", b"".join(map(attrgetter("bytes"), ids)))
    halves.byteswap()  # each half is little-endian
    return halves.tobytes()


def _numbers(numbers: Sequence[int]) -> bytes:
    return pack(f"<{len(numbers)}I", *numbers)


_PACKINGS: Final[Mapping[str, Callable[[Sequence[Any]], bytes]]] = {"Array(UUID)": _uuids, "Array(UInt32)": _numbers}


def _base64(packed: bytes) -> list[_Base64]:
    text = b64encode(packed).decode()
    return [_Base64(text[at : at + _LONGEST_VALUE]) for at in range(0, len(text), _LONGEST_VALUE)]


def _unpacked(names: Sequence[str], mention: re.Match[str]) -> str:
    texts = _listed(names, "String")
    return f"reinterpret(base64Decode({texts if len(names) == 1 else f'concat({texts})'}), '{mention[1]}')"


def _parts(content: Any) -> list[Any]:
    """The content, in as many pieces as it takes for each to fit into a field."""
    pieces = _size(content) // _LONGEST_VALUE + 1
    if pieces == 1 or not isinstance(content, str | list | tuple) or len(content) < 2:
        return [content]
    length = -(-len(content) // pieces)
    return [part for at in range(0, len(content), length) for part in _parts(content[at : at + length])]


def _size(content: Any) -> int:
    """At most so many bytes of text: every one of a text may have to be escaped, a UUID in quotes has 38."""
    if isinstance(content, _Base64):
        return len(content.text)
    if isinstance(content, str):
        return 2 * len(content.encode())
    return sum(map(_size, content)) + 4 * len(content) if isinstance(content, _LISTS) else 40


def _joined(names: Sequence[str], mention: re.Match[str]) -> str:
    function = "arrayConcat" if mention[1].startswith("Array") else "concat"
    return f"{function}({_listed(names, mention[1])})"


def _listed(names: Sequence[str], type_name: str) -> str:
    return ", ".join(f"{{{name}:{type_name}}}" for name in names)


def _bindable(content: Any) -> Any:
    # the driver cuts a plain datetime to whole seconds
    if isinstance(content, datetime):
        return DT64Param(content) if content.microsecond else content
    if isinstance(content, _LISTS):
        return type(content)(map(_bindable, content))
    return content
