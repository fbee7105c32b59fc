"""An event and the categories that its source needs granted -> what may be kept of it: all, its consent, or nothing."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from cdp_ingest.fields import ABSENT, FaultyField, Fields
from cdp_ingest.refusals import CONSENT_MISSING, Fault
from cdp_schemas.codec import encode
from cdp_schemas.consent import preferences

# what the consent libraries of Segment (its present and its older name) and of RudderStack send when a choice is made
CHANGES: Final = frozenset(
    {"Segment Consent Preference Updated", "Segment Consent Preference", "Consent Management Interaction"}
)


class _Said(Struct, rename="camel", omit_defaults=True):
    consent: Any = None
    consent_management: Any = None


class Kept(NamedTuple):
    """What may be kept of an event."""

    fields: Fields
    context: bytes
    is_whole: bool


_decoder: Final = msgspec.json.Decoder(_Said)


def gated(fields: Fields, call: str, context: bytes, required: Sequence[str]) -> Kept:
    """The event, when its context grants every required category. Raises FaultyField when it is to be set apart.

    A call that changes consent is never set apart, or a withdrawal would be lost by the very gate that it closes: an
    ``identify``, or the event of a consent library, that says anything about consent. Without the grants it is kept
    bare: its identifiers, times and preferences, and nothing that the person did or is.
    """
    said = _decoder.decode(context)
    granted = preferences(said.consent, said.consent_management)
    lacking = [category for category in required if not granted.get(category)]
    if not lacking:
        return Kept(fields, context, True)
    if granted and (call == "identify" or (call == "track" and fields.event in CHANGES)):
        bare = msgspec.structs.replace(
            fields, properties=ABSENT, traits=ABSENT, context=ABSENT, integrations=ABSENT, session_id=None
        )
        return Kept(bare, encode(said), False)
    told = f"Its source needs {', '.join(required)}; not granted: {', '.join(lacking)}."
    raise FaultyField(Fault(CONSENT_MISSING, "context.consent.categoryPreferences", told))
