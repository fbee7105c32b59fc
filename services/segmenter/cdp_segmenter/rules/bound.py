"""Values -> bound parameters of one statement; equal values share one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cdp_clickhouse.statement import Statement, value

IDS_PER_ARRAY: Final = 2000  # a longer array of UUIDs would pass the server's limit of 128 KiB for a bound value


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

    def arrays(self, type_name: str, items: Sequence[Any]) -> list[str]:
        """The placeholders of as many arrays as the items need: one alone may be too long for a bound value."""
        parts = (tuple(items[start : start + IDS_PER_ARRAY]) for start in range(0, len(items), IDS_PER_ARRAY))
        return [self(type_name, part) for part in parts]

    def statement(self, sql: str) -> Statement:
        return Statement(sql, dict(self._values))
