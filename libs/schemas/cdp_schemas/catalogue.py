"""Topic -> message class and codec: who reads a topic finds its type here."""

from typing import Any, Final

from cdp_schemas.codec import Codec
from cdp_schemas.deliveries import DeliveryReported
from cdp_schemas.events import IdentifiedEvent, ReceivedEvent, RefusedEvent
from cdp_schemas.profiles import NodeMoved, ProfilesRecorded, ProfileUpdated
from cdp_schemas.segments import MembershipChanged, MembershipsChanged

MESSAGES: Final[dict[str, type[Any]]] = {
    message.__name__: message
    for message in (
        ReceivedEvent,
        RefusedEvent,
        IdentifiedEvent,
        ProfileUpdated,
        NodeMoved,
        ProfilesRecorded,
        MembershipChanged,
        MembershipsChanged,
        DeliveryReported,
    )
}


def codec_of(message: str) -> Codec[Any]:
    """The codec of a topic card's ``message``. Raises KeyError for a name without a class."""
    return Codec(MESSAGES[message])
