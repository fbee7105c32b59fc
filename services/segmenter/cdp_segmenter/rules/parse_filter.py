"""The JSON of an event condition's ``filters`` -> a condition of single events."""

from collections.abc import Mapping
from typing import Any, Final, cast

from cdp_segmenter.rules.ast import And, Condition, ItemsAre, PropertyIs, Quantifier
from cdp_segmenter.rules.check import MAX_DEPTH
from cdp_segmenter.rules.fields import PROPERTY_OPERATORS, UnknownField, property_path
from cdp_segmenter.rules.reader import Reader, group

_WANTED: Final = "give a list of {property, operator, value}, or a group of them"


def filters_of(reader: Reader, given: Any, path: str, *, in_item: bool = False) -> Condition | None:
    """A list of conditions that must all hold, one condition, or a group.

    With ``in_item`` paths start at an item of a list, and a condition without one is about the item itself.
    """
    if isinstance(given, list):
        found = [filters_of(reader, item, f"{path}[{index}]", in_item=in_item) for index, item in enumerate(given)]
        return And(tuple(condition for condition in found if condition is not None))
    if given is None:
        return reader.passed_over(path, _WANTED)
    if not isinstance(given, Mapping):
        return reader.fault(path, _WANTED)
    if "conditions" in given:
        return group(reader, given, path, lambda item, at: filters_of(reader, item, at, in_item=in_item))
    return _property(reader, given, path, in_item)


def keys_of(reader: Reader, written: str, path: str) -> tuple[str, ...]:
    """The keys of a property's path; a fault and no keys when it is none."""
    try:
        return property_path(written)
    except UnknownField as error:
        reader.fault(path, str(error))
        return ()


def _property(reader: Reader, given: Mapping[str, Any], path: str, in_item: bool) -> Condition | None:
    written = given.get("property", given.get("field", "" if in_item else None))
    if not isinstance(written, str) or not (written or in_item):
        return reader.fault(f"{path}.property", "give the path of a property, such as category or products[].sku")
    if written.count("[]") > MAX_DEPTH:
        return reader.fault(f"{path}.property", f"lists are nested more than {MAX_DEPTH} deep")
    if given.get("property") is not None and given.get("field") is not None:
        reader.passed_over(f"{path}.field", "give property or field, not both")
    listed, brackets, rest = written.removeprefix("properties.").partition("[]")
    keys = keys_of(reader, listed, f"{path}.property") if listed else ()
    if brackets and "where" in given:
        if rest:
            message = f"where tests the items of {listed}[]: give another inside it for a list that they hold"
            reader.passed_over(f"{path}.property", message)
        return _items(reader, given, path, keys)
    if brackets:
        # products[].sku is short for: any item of products whose sku ...
        inner = {"property": rest.removeprefix("."), **{k: given[k] for k in given if k not in ("property", "field")}}
        condition = _property(reader, inner, path, True)
        return ItemsAre(keys, "any", condition) if condition else None
    reader.only(given, path, "property", "field", "operator", "value")
    comparison = reader.comparison(given, path, "json", PROPERTY_OPERATORS, "a property of an event")
    return PropertyIs(keys, comparison) if comparison else None


def _items(reader: Reader, given: Mapping[str, Any], path: str, keys: tuple[str, ...]) -> Condition | None:
    """``{property: "products[]", operator: any|all|none, where: filters}``."""
    reader.only(given, path, "property", "field", "operator", "where")
    quantifier = given.get("operator", "any")
    if quantifier not in ("any", "all", "none"):
        reader.fault(f"{path}.operator", "give any, all or none: how many of the items satisfy where")
    condition = filters_of(reader, given["where"], f"{path}.where", in_item=True)
    return ItemsAre(keys, cast(Quantifier, quantifier), condition) if condition else None
