"""A field's written name -> what it is and which operators it takes."""

import re
from typing import Final, get_args

from cdp_segmenter.rules.ast import Field, Kind, Operator

COMPUTED: Final[dict[str, Kind]] = {
    "ltv": "money",
    "aov": "money",
    "purchaseCount": "number",
    "firstSeenDate": "time",
    "lastSeenDate": "time",
    "lastPurchaseDate": "time",
    "daysSinceLastPurchase": "number",
    "currency": "text",
}
_ORDER: Final[tuple[Operator, ...]] = (">", "<", ">=", "<=", "between")
_EQUAL: Final[tuple[Operator, ...]] = ("=", "!=", "exists")
_LISTED: Final[tuple[Operator, ...]] = ("in", "not_in")
_TEXT: Final[tuple[Operator, ...]] = ("contains", "starts_with", "matches")
_ITEMS: Final[tuple[Operator, ...]] = ("any", "all", "none")

OPERATORS: Final[dict[Kind, frozenset[Operator]]] = {
    "json": frozenset(get_args(Operator)),
    "money": frozenset((*_EQUAL, *_LISTED, *_ORDER)),
    "number": frozenset((*_EQUAL, *_LISTED, *_ORDER)),
    "time": frozenset((*_EQUAL, *_ORDER, "within_last")),
    "text": frozenset((*_EQUAL, *_LISTED, *_TEXT)),
    "flag": frozenset(_EQUAL),
    "names": frozenset((*_EQUAL, *_LISTED, *_TEXT, *_ITEMS)),
}
# clock-bound tests of single events would make every event a boundary of its own
PROPERTY_OPERATORS: Final = OPERATORS["json"] - {"within_last"}
# what the column store can address as one path of its JSON column
_TRAIT_PATH: Final = re.compile(r"[\w$][\w$ -]*(\.[\w$][\w$ -]*)*\Z")
_KEY: Final = re.compile(r"[A-Za-z0-9_$-]+\Z")
_LONGEST_NAME: Final = 200
# what identity keeps as user_id and so on, however it was written
_OTHERWISE_KEPT: Final = frozenset(("userid", "anonymousid", "deviceid", "email_address", "phone_number"))


class UnknownField(ValueError):
    """There is no such field; the message says which there are."""


def field_named(written: str) -> Field:
    """The field of ``attributes.<trait>``, ``computed.<name>``, ``consent.<purpose>`` or ``identifiers.<kind>``.

    Raises UnknownField.
    """
    space, _, name = written.partition(".")
    if len(written) > _LONGEST_NAME:
        raise UnknownField(f"a field's name has at most {_LONGEST_NAME} characters")
    match space:
        case "attributes":
            return Field("attributes", _trait(name.removeprefix("customFields.")), "json")
        case "computed":
            return _computed(name)
        case "consent":
            return Field("consent", _key(name, "a purpose, such as consent.email"), "flag")
        case "identifiers":
            return Field("identifiers", _key(name, "a kind, such as identifiers.email"), "names")
    raise UnknownField(
        f"there is no field {written!r}: write attributes.<trait>, computed.<name>, consent.<purpose> "
        "or identifiers.<kind>"
    )


def is_never_kept(field: Field) -> bool:
    """Whether no profile can have the field: a kind of identifier in a spelling that none is kept under."""
    kind = field.name.lower()
    return field.space == "identifiers" and (kind != field.name or kind in _OTHERWISE_KEPT)


def property_path(written: str) -> tuple[str, ...]:
    """The keys of ``a.b.c``. Raises UnknownField."""
    path = tuple(written.split("."))
    if len(written) > _LONGEST_NAME or not all(path) or any("[" in key or "\0" in key for key in path):
        raise UnknownField(f"{written!r} is no path of a property: write its keys with dots between them")
    return path


def _trait(name: str) -> str:
    if not _TRAIT_PATH.match(name):
        raise UnknownField(
            f"{name!r} is no name of a trait: letters, digits, _, $, - and spaces, with dots between nested names"
        )
    return name


def _computed(name: str) -> Field:
    if name not in COMPUTED:
        raise UnknownField(f"there is no computed.{name}: there are {', '.join(COMPUTED)}")
    return Field("computed", name, COMPUTED[name])


def _key(name: str, example: str) -> str:
    if not _KEY.match(name):
        raise UnknownField(f"{name!r} does not name {example}")
    return name
