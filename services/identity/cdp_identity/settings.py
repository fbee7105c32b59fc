"""Environment variables -> what the resolver and the identity API need; read by service.py alone."""

from datetime import timedelta

from pydantic import Field

from cdp_identity.graph import Guards
from cdp_runtime.settings import ServiceSettings


class IdentitySettings(ServiceSettings):
    """Settings of the resolver and of the identity API."""

    identity_batch_events: int = Field(2000, ge=1, le=20000, description="most events the resolver takes at once")
    identity_gather_seconds: float = Field(
        0.08, ge=0, le=5, description="least time between two small batches of the resolver"
    )
    identity_duplicate_hours: int = Field(
        24, ge=1, le=168, description="hours in which a repeated messageId counts once"
    )
    identity_last_seen_seconds: int = Field(300, ge=0, description="smallest move of lastSeen that alone is written")
    identity_profile_limit: int = Field(1000, ge=2, description="identifiers one profile may have")
    identity_email_limit: int = Field(5, ge=1, description="email addresses one profile may have")
    identity_phone_limit: int = Field(5, ge=1, description="phone numbers one profile may have")
    identity_device_limit: int = Field(50, ge=1, description="device ids one profile may have")
    identity_anonymous_limit: int = Field(100, ge=1, description="anonymous ids one profile may have")
    identity_other_limit: int = Field(5, ge=1, description="identifiers of any other kind one profile may have")
    identity_blocked_values: str = Field("", description="further identifier values to ignore, separated by commas")
    identity_wait_seconds: float = Field(5.0, gt=0, le=60, description="how long the API waits for its own change")

    def duplicate_window(self) -> timedelta:
        """How long a messageId counts once."""
        return timedelta(hours=self.identity_duplicate_hours)

    def guards(self) -> Guards:
        """The limits as the graph takes them; a profile has one user_id, always."""
        limits = {
            "user_id": 1,
            "email": self.identity_email_limit,
            "phone": self.identity_phone_limit,
            "device_id": self.identity_device_limit,
            "anonymous_id": self.identity_anonymous_limit,
        }
        return Guards(limits, self.identity_other_limit, self.identity_profile_limit)
