"""The dead-letter topic -> I15: whoever finds a refused event knows why, whence, and has its bytes."""

from collections import Counter

from cdp_schemas.codec import Codec, InvalidMessage
from cdp_schemas.events import RefusedEvent
from cdp_schemas.topics import EVENTS_RECEIVED_DLQ
from cdp_verify.findings import Finding, finding, not_checked
from cdp_verify.stores import Stores

_CODEC = Codec(RefusedEvent)


async def check_letters(stores: Stores) -> Finding:
    """I15, for the letters that the topic still holds."""
    if stores.log is None:
        return not_checked("I15", "Kafka was not given")
    result, reasons = finding("I15"), Counter[str]()
    async for record in stores.log.records(EVENTS_RECEIVED_DLQ):
        place = f"{EVENTS_RECEIVED_DLQ}[{record.partition.number}] {record.offset}"
        try:
            letter = _CODEC.decode(record.value)
        except InvalidMessage as error:
            result.wrong(f"{place} cannot be read: {error}")
            continue
        if stores.scope.workspace_id in (None, letter.workspace_id):
            reasons[letter.reason] += 1
            result.all_wrong(f"{place} has no {lack}" for lack in lacks(letter))
    told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common(4))
    result.compared = f"{reasons.total():,} dead letters{f': {told}' if told else ''}"
    return result


def lacks(letter: RefusedEvent) -> list[str]:
    """What a letter should say and does not. What identity refused had a place in the log already."""
    found = [name for name in ("reason", "detail", "raw") if not getattr(letter, name)]
    if letter.stage == "identity" and (letter.received_partition is None or letter.received_offset is None):
        found.append("offset in events-received")
    return found
