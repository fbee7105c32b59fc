"""The environment -> what the front door needs to know."""

from pydantic import Field, field_validator

from cdp_runtime.clients import networks
from cdp_runtime.settings import ServiceSettings


class AnalyticsApiSettings(ServiceSettings):
    """Settings of the front door and the analytics."""

    api_host: str = Field("127.0.0.1", description="address the front door listens on")
    api_port: int = Field(8001, ge=0, le=65535, description="port of the front door")
    api_cors_origins: str = Field("*", description="origins that browsers may call the API from, separated by commas")
    api_request_seconds: float = Field(
        60.0, gt=0, description="longest wait for a request's head, and again for its body, before the answer is 408"
    )
    api_rate_per_minute: int = Field(6000, ge=1, description="requests a minute that one API token may make")
    api_rate_burst: int = Field(600, ge=1, description="requests that one API token may make at once")
    api_wrong_tokens_per_minute: int = Field(
        100, ge=1, description="wrong API tokens a minute that one client may send (an IPv6 client is a /64); then 429"
    )
    api_trusted_proxies: str = Field(
        "127.0.0.0/8,::1/128", description="CIDR blocks whose X-Forwarded-For tells a client's address"
    )
    api_query_seconds: float = Field(15.0, gt=0, description="longest time that one analytics query may take")
    api_query_rows: int = Field(2_000_000_000, ge=1, description="most rows that one analytics query may read")
    api_token_cache_seconds: float = Field(10.0, ge=0, description="how long a revoked API token may still work")
    api_stream_buffer: int = Field(1000, ge=1, description="events kept for one slow live listener before dropping")
    api_streams_per_token: int = Field(50, ge=1, description="live streams that one API token may hold open")
    api_streams_per_workspace: int = Field(200, ge=1, description="live streams that one workspace may hold open")
    api_streams_per_client: int = Field(
        100, ge=1, description="live streams that one client address may hold open (an IPv6 client is a /64)"
    )
    api_stream_stall_seconds: float = Field(
        30.0, gt=0, description="how long a live listener may read nothing before its stream is closed"
    )
    api_audit_days: int = Field(
        365, ge=0, description="how long front.audit keeps who asked for which personal data; 0: for ever"
    )
    api_body_bytes: int = Field(8_388_608, ge=1024, description="largest request body of the front door")

    @field_validator("api_trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        networks(value.split(","))
        return value
