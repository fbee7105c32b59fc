"""The gateway's environment variables."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from cdp_runtime.clients import networks
from cdp_runtime.settings import ServiceSettings


class IngestSettings(ServiceSettings):
    """CDP_INGEST_*, beside what every process has."""

    ingest_host: str = Field("127.0.0.1", description="address the gateway listens on; 0.0.0.0 for all")
    ingest_port: int = Field(8000, ge=0, le=65535, description="port of the gateway; 0 picks one")
    ingest_workers: int = Field(1, ge=1, le=64, description="processes that share the gateway's port")
    ingest_share_port: bool = Field(False, description="true: other gateways may listen on the same port")
    ingest_max_body_bytes: int = Field(
        512 * 1024, ge=1024, le=5 * 1024 * 1024, description="largest body of a call, after inflating"
    )
    ingest_max_event_bytes: int = Field(32 * 1024, ge=1024, le=900_000, description="largest event")
    ingest_max_batch_events: int = Field(2500, ge=1, le=100_000, description="most events of a call")
    ingest_buffer_bytes: int = Field(
        64 * 1024 * 1024, ge=1024 * 1024, description="most bytes of bodies in flight in one worker; beyond: 503"
    )
    ingest_source_buffer_bytes: int = Field(
        32 * 1024 * 1024, ge=1024 * 1024, description="most bytes in flight of one source in one worker; beyond: 429"
    )
    ingest_events_per_second: float = Field(
        0, ge=0, description="events a source may send per second, unless it has its own limit; 0 is no limit"
    )
    ingest_burst_events: float = Field(0, ge=0, description="events a source may send at once; 0 is twice the rate")
    ingest_share_limits: bool = Field(False, description="true: all gateways share the sources' limits through Redis")
    ingest_ack_seconds: float = Field(10, gt=0, le=60, description="longest wait for Kafka before the answer is 503")
    ingest_request_seconds: float = Field(
        30, gt=0, description="longest wait for a request's head, and again for its body, before the answer is 408"
    )
    ingest_source_cache_seconds: float = Field(30, ge=0, description="how long a write key is trusted without a look")
    ingest_unknown_keys: Literal["refuse", "quarantine"] = Field(
        "refuse", description="calls with an unknown write key: refuse with 401, or answer 200 and keep as dead letters"
    )
    ingest_unknown_bytes_per_second: float = Field(
        4096,
        gt=0,
        description="bytes of such dead letters per second in one worker, a minute's worth at once",
    )
    ingest_wrong_keys_per_minute: int = Field(
        300,
        ge=1,
        description="unknown write keys a minute that one worker looks up for one client (an IPv6 client is a /64)",
    )
    ingest_trusted_proxies: str = Field(
        "127.0.0.0/8,::1/128", description="CIDR blocks whose X-Forwarded-For tells a client's address"
    )
    ingest_credential_origins: str = Field("", description="browser origins that may send cookies, comma-separated")
    ingest_public_host: str = Field("", description="host:port that SDKs reach the gateway at; empty: as they ask")
    ingest_scripts_dir: Path | None = Field(None, description="dist/umd of @segment/analytics-next, to be served")

    @field_validator("ingest_trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        networks(value.split(","))
        return value
