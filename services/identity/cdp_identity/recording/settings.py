"""Environment variables -> the recorder's settings."""

from pydantic import Field

from cdp_runtime.settings import ServiceSettings


class RecorderSettings(ServiceSettings):
    """How large and how frequent the recorder's inserts are."""

    recorder_max_records: int = Field(20_000, ge=100, le=200_000, description="most records of one flush")
    recorder_full_records: int = Field(
        5_000, ge=1, description="records of a flush from which the recorder no longer waits to gather more"
    )
    recorder_flush_seconds: float = Field(0.25, gt=0, le=60, description="least time between two small flushes")
    recorder_window_blocks: int = Field(
        10_000, ge=1, description="blocks whose tokens ClickHouse remembers (non_replicated_deduplication_window)"
    )
    recorder_group: str = Field("recorder", min_length=1, description="consumer group of the recorder")
