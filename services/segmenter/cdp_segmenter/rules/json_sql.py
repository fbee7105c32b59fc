"""One place in a JSON value -> SQL expressions that read it as each type, missing where it is of another type."""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Final

from cdp_clickhouse.statement import identifier
from cdp_segmenter.rules.facts import ELSEWHERE

_NUMBERS: Final = "('Int64', 'UInt64', 'Double')"
_MIXED_NUMBER: Final = (
    "coalesce(toFloat64(dynamicElement(x, 'Int64')), dynamicElement(x, 'Float64'), "
    "toFloat64(dynamicElement(x, 'UInt64')))"
)


@dataclass(frozen=True, slots=True)
class JsonSql:
    """``text``, ``number``, ``flag`` are Nullable; ``texts``, ``numbers``, ``flags`` the items of a list of each type.

    ``present`` is 1 when there is anything but null or an empty object; ``whole`` is its JSON, missing for an object.
    """

    present: str
    whole: str
    text: str
    number: str
    flag: str
    texts: str
    numbers: str
    flags: str


def trait_column(column: str, name: str) -> JsonSql:
    """A trait in a column of type JSON: at its own place, else where such a trait may also be."""
    own = _path(column, name)
    if name not in ELSEWHERE:
        return own
    readings = zip(astuple(own), astuple(_path(column, ELSEWHERE[name])), strict=True)
    return JsonSql(*(f"if({own.present}, {here}, {there})" for here, there in readings))


def _path(column: str, name: str) -> JsonSql:
    """A path of a column of type JSON, through its typed subcolumns: no value is parsed.

    The store must have been filled without guessing dates from texts or booleans from numbers.
    """
    keys = ".".join(map(identifier, name.split(".")))
    path = f"{column}.{keys}"

    def typed(type_name: str) -> str:
        return f"{path}.:`{type_name}`"

    mixed = typed("Array(Dynamic)")
    return JsonSql(
        present=f"(isNotNull({path}) OR notEmpty(JSONAllPaths({column}.^{keys})))",
        whole=f"toJSONString({path})",
        text=typed("String"),
        number=f"coalesce(toFloat64({typed('Int64')}), {typed('Float64')}, toFloat64({typed('UInt64')}))",
        flag=typed("Bool"),
        texts=f"arrayConcat({typed('Array(Nullable(String))')}, arrayMap(x -> dynamicElement(x, 'String'), {mixed}))",
        numbers=(
            f"arrayConcat({typed('Array(Nullable(Float64))')}, "
            f"arrayMap(x -> toFloat64(x), {typed('Array(Nullable(Int64))')}), "
            f"arrayMap(x -> toFloat64(x), {typed('Array(Nullable(UInt64))')}), "
            f"arrayMap(x -> {_MIXED_NUMBER}, {mixed}))"
        ),
        flags=f"arrayConcat({typed('Array(Nullable(Bool))')}, arrayMap(x -> dynamicElement(x, 'Bool'), {mixed}))",
    )


def json_text(source: str, path: tuple[str, ...], key: Callable[[str], str]) -> JsonSql:
    """A path inside a column (or expression) that holds JSON as text. ``key`` binds one key of the path."""
    at = ", ".join((source, *map(key, path)))
    kind, items = f"JSONType({at})", f"JSONExtractArrayRaw({at})"
    return JsonSql(
        present=f"({_something(at)})",
        whole=f"JSONExtractRaw({at})",
        text=f"if({kind} = 'String', JSONExtractString({at}), NULL)",
        number=f"if({kind} IN {_NUMBERS}, JSONExtractFloat({at}), NULL)",
        flag=f"if({kind} = 'Bool', JSONExtractBool({at}), NULL)",
        texts=f"arrayMap(x -> JSONExtractString(x), arrayFilter(x -> JSONType(x) = 'String', {items}))",
        numbers=f"arrayMap(x -> JSONExtractFloat(x), arrayFilter(x -> JSONType(x) IN {_NUMBERS}, {items}))",
        flags=f"arrayMap(x -> JSONExtractBool(x), arrayFilter(x -> JSONType(x) = 'Bool', {items}))",
    )


def items_of(source: str, path: tuple[str, ...], key: Callable[[str], str]) -> str:
    """The items of a list as JSON texts; an empty array where there is no list."""
    return f"JSONExtractArrayRaw({', '.join((source, *map(key, path)))})"


def _something(at: str) -> str:
    """1 unless missing, null, or an object without any leaf but null."""
    kind = f"JSONType({at})"
    # an object counts when it holds a leaf that is not null: cast to the JSON type, which drops nulls and empty objects
    leaves = f"notEmpty(JSONAllPaths(CAST(if({kind} = 'Object', JSONExtractRaw({at}), '{{}}'), 'JSON')))"
    return f"{kind} NOT IN ('Null', 'Object') OR ({kind} = 'Object' AND {leaves})"
