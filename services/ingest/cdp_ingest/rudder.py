"""What RudderStack's SDKs send differently -> the shape of Segment's."""

from typing import Final

from msgspec import Raw

from cdp_ingest.envelope import field, is_empty, is_object

TRAIT_CALLS: Final = frozenset({"identify"})


def traits_of(call: str, traits: Raw, context: bytes) -> Raw:
    """The traits of an identify call: RudderStack keeps them in ``context.traits`` and sends none beside."""
    if call not in TRAIT_CALLS or not is_empty(bytes(traits)) or b'"traits"' not in context:
        return traits
    found = field(context, "traits")
    return found if found is not None and is_object(bytes(found)) else traits
