"""Raw identifiers -> the normal forms that each platform hashes, and their SHA-256. Pure.

The same phone and the same address are written differently for each platform, so hashes are always made from the raw
value. An empty string means that nothing useful was left: the identifier is dropped, not the member.
"""

import re
import unicodedata
from functools import lru_cache
from hashlib import sha256
from typing import Final

import phonenumbers

_HEX64: Final = re.compile(r"[0-9a-fA-F]{64}\Z")
_COUNTRY_ALIASES: Final = {"uk": "gb", "el": "gr"}


def is_hash(value: str) -> bool:
    """True for what already is a SHA-256 in hex."""
    return _HEX64.match(value.strip()) is not None


def hashed(normal: str) -> str:
    """SHA-256 in lower-case hex; empty stays empty, and a hash is never hashed again."""
    if not normal:
        return ""
    return normal.strip().lower() if is_hash(normal) else sha256(normal.encode()).hexdigest()


def email(value: str) -> str:
    """Trimmed, lower case: Meta, Snap. A value without an @ that is no hash is no address."""
    text = value.strip().lower()
    local, _, domain = text.rpartition("@")
    return text if (local and "." in domain and not re.search(r"\s", text)) or is_hash(text) else ""


@lru_cache(maxsize=16_384)  # one round asks for each number several times
def phone_e164(value: str, region: str) -> str:
    """E.164 with +: Google, Klaviyo, Braze, HubSpot. ``region`` is that of numbers written without +."""
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_possible_number(number) or not number.national_number:
        return ""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def phone_digits(value: str, region: str) -> str:
    """Country code and number, digits only, no +: Meta, Snap, TikTok."""
    return value.strip() if is_hash(value) else phone_e164(value, region).removeprefix("+")


@lru_cache(maxsize=4096)
def name(value: str) -> str:
    """Lower case, without punctuation and outer space; letters of every script stay."""
    if is_hash(value):
        return value.strip()
    kept = (
        c for c in unicodedata.normalize("NFC", value.lower()) if not unicodedata.category(c).startswith(("P", "S"))
    )
    return re.sub(r"\s+", " ", "".join(kept)).strip()


@lru_cache(maxsize=4096)
def letters(value: str) -> str:
    """Lower case, letters only: city and state."""
    if is_hash(value):
        return value.strip()
    return "".join(c for c in unicodedata.normalize("NFC", value.lower()) if c.isalpha())


def postal_code(value: str, country_code: str) -> str:
    """Lower case, no space or dash; of US codes the first five digits."""
    if is_hash(value):
        return value.strip()
    text = re.sub(r"[\s-]", "", value.lower())
    return text[:5] if country_code == "us" else text


def country(value: str) -> str:
    """ISO 3166 alpha-2 in lower case; anything longer is dropped rather than guessed."""
    if is_hash(value):
        return value.strip()
    text = letters(value)
    return _COUNTRY_ALIASES.get(text, text) if len(text) == 2 else ""
