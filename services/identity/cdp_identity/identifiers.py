"""What an event says about who it is -> normalised identifiers, the strongest first; blocked values are left out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from cdp_schemas.nodes import node_id

MAX_LENGTH: Final = 512
USER_ID: Final = "user_id"
ANONYMOUS_ID: Final = "anonymous_id"
EMAIL: Final = "email"
PHONE: Final = "phone"
DEVICE_ID: Final = "device_id"
# a profile id names a node itself; it is a way to address, not an identifier of its own
PROFILE_ID: Final = "profile_id"

BLOCKED: Final = frozenset(
    """
    null undefined nil none unknown anonymous anon guest n/a na not_available -1 0 true false nan void empty default
    [object_object] {} [] "" '' id user_id userid anonymous_id anonymousid
    test@example.com test@test.com user@example.com example@example.com email@example.com no@email.com none@none.com
    noemail@noemail.com noreply@example.com unknown@unknown.com foo@bar.com a@a.com
    """.split()
)
_ZEROS: Final = re.compile(r"[0-]+|f{8}(-?f{4}){3}-?f{12}|9774d56d682e549c")  # the last: one Android id of many phones
# local parts that are their own spelling, and valid before any domain that is
_PLAIN: Final = re.compile(r"[a-z0-9]+([._+\-][a-z0-9]+)*")
_SHORT: Final = 64  # no part of an address that is no longer can be too long
_KIND: Final = re.compile(r"[a-z][a-z0-9_.\-]{0,63}")
_ALIASES: Final = {
    "userid": USER_ID,
    "anonymousid": ANONYMOUS_ID,
    "deviceid": DEVICE_ID,
    "email_address": EMAIL,
    "phone_number": PHONE,
}


class Identifier(NamedTuple):
    """One normalised identifier of a workspace; ``node_id`` is the node that it is."""

    kind: str
    value: str
    node_id: UUID


@dataclass(frozen=True, slots=True, eq=False)
class Spelling:
    """How identifiers are read: region of phone numbers without +, and further values that mean nobody."""

    phone_region: str = "US"
    blocked: frozenset[str] = BLOCKED


def identifier(workspace_id: str, kind: str, value: Any, spelling: Spelling) -> Identifier | None:
    """A normalised identifier; None when the value means nobody or cannot be one of its kind."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    if isinstance(value, str) and len(value) > MAX_LENGTH and len(value := value.strip()) > MAX_LENGTH:
        return None  # before it is remembered: anybody can send 32 KiB, and as many others as there is room for
    return _identifier(workspace_id, kind, value, spelling)


# most events come from somebody who was here a moment ago
@lru_cache(maxsize=32768)
def _identifier(workspace_id: str, kind: str, value: str | int, spelling: Spelling) -> Identifier | None:
    text = normalise(kind, value, spelling)
    return None if text is None else Identifier(kind, text, node_id(workspace_id, kind, text))


def normalise(kind: str, value: Any, spelling: Spelling) -> str | None:
    """The one spelling of a value: emails in lower case, phones in E.164; None when it is none or is blocked."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value).strip()
    if not text or len(text) > MAX_LENGTH or is_blocked(text, spelling):
        return None
    if kind == EMAIL:
        return _email(text)
    if kind == PHONE:
        return _phone(text, spelling.phone_region)
    return text


def is_blocked(text: str, spelling: Spelling) -> bool:
    """Values that programs write when they know nobody; they would join strangers."""
    lowered = text.lower()
    return lowered in spelling.blocked or _ZEROS.fullmatch(lowered) is not None


def canonical_kind(kind: str) -> str | None:
    """The spelling of a kind in ``kind:value`` references and external ids; None when it cannot be a kind."""
    lowered = kind.strip().lower()
    lowered = _ALIASES.get(lowered, lowered)
    return lowered if _KIND.fullmatch(lowered) and lowered != PROFILE_ID else None


def external_ids(entries: Any) -> Iterator[tuple[str, Any]]:
    """``context.externalIds`` -> (kind, value); entries about accounts and malformed ones are left out."""
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or entry.get("collection") not in (None, "", "users"):
            continue
        kind = canonical_kind(entry["type"]) if isinstance(entry.get("type"), str) else None
        encoding = entry.get("encoding")
        if kind is not None and isinstance(encoding, str) and encoding.lower() not in ("", "none"):
            # a hashed email is no email: it is a kind of its own
            kind = canonical_kind(f"{kind}.{encoding}")
        if kind is not None:
            yield kind, entry.get("id")


@lru_cache(maxsize=65536)
def _email(text: str) -> str | None:
    lowered = text.lower()
    local, _, domain = lowered.rpartition("@")
    if len(text) <= _SHORT and text.isascii() and _PLAIN.fullmatch(local):
        known = _domain(domain)
        return known and f"{local}@{known}"
    return _validated(lowered)


@lru_cache(maxsize=4096)
def _domain(domain: str) -> str | None:
    """A domain as it is in a valid address: there are far fewer of them than addresses."""
    found = _validated(f"a@{domain}")
    return found and found.removeprefix("a@")


def _validated(address: str) -> str | None:
    try:
        found = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return found.normalized.lower()


@lru_cache(maxsize=65536)
def _phone(text: str, region: str) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
