"""Fragments of SQL and their values -> one statement; the only place that quotes a name."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class ParameterClash(ValueError):
    """Two fragments use one parameter name for two values: rename one of them."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL whose values are bound by the server: ``{name:Type}`` in ``sql``, the value under ``name``.

    It is also the type of a fragment (an expression, a condition): a statement grows by :meth:`__add__` and
    :func:`join`. Values never enter ``sql``; names enter it through :func:`identifier` alone.
    """

    sql: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __add__(self, other: "Statement | str") -> "Statement":
        """Both texts in a row, both sets of values. Raises ParameterClash."""
        if isinstance(other, str):
            return Statement(self.sql + other, self.parameters)
        return Statement(self.sql + other.sql, merged((self.parameters, other.parameters)))

    def __radd__(self, other: str) -> "Statement":
        return Statement(other + self.sql, self.parameters)

    def __bool__(self) -> bool:
        return bool(self.sql)


EMPTY: Final = Statement("")


def join(separator: str, fragments: "Iterable[Statement | str]") -> Statement:
    """The fragments with ``separator`` between them; empty ones are left out. Raises ParameterClash."""
    parts = [part if isinstance(part, Statement) else Statement(part) for part in fragments]
    present = [part for part in parts if part.sql]
    return Statement(separator.join(part.sql for part in present), merged(part.parameters for part in present))


def value(name: str, type_name: str, content: Any) -> Statement:
    """One bound value: ``value("after", "DateTime64(3)", at)`` reads ``{after:DateTime64(3)}``."""
    return Statement(f"{{{_checked(name)}:{type_name}}}", {name: content})


def merged(mappings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """All parameters. Raises ParameterClash when one name stands for two different values."""
    result: dict[str, Any] = {}
    for mapping in mappings:
        for name, content in mapping.items():
            if name in result and (result[name] is not content and result[name] != content):
                raise ParameterClash(f"the parameter {name!r} has two values: {result[name]!r} and {content!r}")
            result[name] = content
    return result


def identifier(name: str) -> str:
    """The quoted form of any name (table, column, JSON key): the only quoting there is."""
    if not name or "\0" in name:
        raise ValueError(f"{name!r} is no name of a table or column")
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _checked(name: str) -> str:
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is no name of a parameter: letters, digits and underscores only")
    return name
