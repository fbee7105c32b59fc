"""Environment -> the settings of the segmenter."""

from pydantic import Field

from cdp_runtime.settings import ServiceSettings


class SegmenterSettings(ServiceSettings):
    """What the segmenter and its router need."""

    segmenter_batch_messages: int = Field(50, ge=1, le=1000, description="messages evaluated together, at most")
    segmenter_batch_seconds: float = Field(0.05, gt=0, le=5, description="longest wait for a batch to fill")
    segmenter_poll_seconds: float = Field(0.25, gt=0, le=60, description="pause between looks for segments to build")
    segmenter_sweep_seconds: float = Field(
        10.0, gt=0, le=15, description="pause between sweeps for changes of the clock that nothing has foreseen"
    )
    segmenter_reconcile_seconds: float = Field(
        3600.0, gt=0, description="pause between full evaluations of a workspace that heal what a lost message missed"
    )
