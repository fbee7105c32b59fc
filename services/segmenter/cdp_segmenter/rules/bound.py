"""Values -> bound parameters of one statement; equal values share one."""

from dataclasses import dataclass, field
from typing import Any

from cdp_clickhouse.statement import Statement, value


@dataclass(slots=True)
class Bound:
    """Collects the values of a statement while its text grows. No value ever enters the text itself."""

    _names: dict[tuple[str, Any], str] = field(default_factory=dict)
    _values: dict[str, Any] = field(default_factory=dict)

    def __call__(self, type_name: str, content: Any) -> str:
        """The placeholder of a value: ``{p3:Array(String)}``. Lists are given as tuples."""
        key = (type_name, content)
        if key not in self._names:
            self._names[key] = f"p{len(self._names)}"
            self._values[self._names[key]] = list(content) if isinstance(content, tuple) else content
        return value(self._names[key], type_name, None).sql

    def statement(self, sql: str) -> Statement:
        return Statement(sql, dict(self._values))
