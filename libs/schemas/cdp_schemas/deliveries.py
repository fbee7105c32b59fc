"""The message about deliveries to destinations."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

Operation = Literal["add", "remove", "replace"]
DeliveryOutcome = Literal["delivered", "rejected", "retrying", "gave_up", "suppressed", "no_consent", "unmatched"]


class DeliveryReported(Struct, rename="camel", frozen=True):
    """What became of one member at one destination, on ``deliveries-reported``. Key: workspace and profile."""

    workspace_id: str
    audience_id: str
    destination_id: str
    profile_id: UUID
    operation: Operation
    outcome: DeliveryOutcome
    attempts: int
    at: datetime
    error: str | None = None
    received_at: datetime | None = None
