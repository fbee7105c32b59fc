"""Messages of one call -> the log, acknowledged, or a refusal of the call; refused events -> dead letters."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cdp_eventlog.log import LogUnavailable, Outgoing, Producer
from cdp_ingest.accept import Refused
from cdp_ingest.quota import MOST_SECONDS
from cdp_ingest.refusals import LOG_UNAVAILABLE, CallRefused
from cdp_runtime import metrics
from cdp_runtime.clock import Clock
from cdp_runtime.faultpoints import reach
from cdp_runtime.logs import get_logger
from cdp_runtime.tally import Tally
from cdp_schemas.codec import encode
from cdp_schemas.events import RefusedEvent, routing_key
from cdp_schemas.topics import EVENTS_RECEIVED_DLQ

_log = get_logger(__name__)
TALLY: Final = Tally()  # of this process, like the metrics themselves


async def publish(log: Producer, messages: Sequence[Outgoing], clock: Clock, *, accepted: int = 0) -> None:
    """Returns when the broker has all. ``accepted`` of them are events. Raises CallRefused 503: it may have some."""
    started = clock.monotonic()
    try:
        reach("gateway.before-produce")
        await log.publish(messages)
        reach("gateway.after-produce")
    except LogUnavailable as error:
        metrics.INGEST_UNCERTAIN.inc(accepted)
        _log.warning("log_unavailable", reason=str(error), events=len(messages))
        wait = min(MOST_SECONDS, max(1, math.ceil(error.retry_after)))
        raise CallRefused(LOG_UNAVAILABLE, retry_after=wait) from error
    TALLY.observe(metrics.INGEST_ACK_SECONDS, clock.monotonic() - started)


def dead_letter(workspace_id: str, source_id: str, received_at: datetime, refused: Refused) -> Outgoing:
    """The message for ``events-received-dlq``."""
    message = RefusedEvent(
        workspace_id=workspace_id,
        source_id=source_id,
        stage="ingest",
        reason=refused.fault.refusal.label,
        detail=refused.fault.message,
        received_at=received_at,
        raw=refused.raw,
        path=refused.fault.path,
        message_id=refused.message_id,
    )
    return Outgoing(EVENTS_RECEIVED_DLQ, routing_key(workspace_id, source_id), encode(message))
