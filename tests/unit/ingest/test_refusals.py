"""Every reason for a dead letter is a series of its counter before the first one."""

from cdp_ingest.refusals import ALL, WRITE_KEY_UNKNOWN
from cdp_runtime.metrics import INGEST_REFUSED


def test_every_reason_for_a_dead_letter_is_counted_from_the_start() -> None:
    reasons = {refusal.label for refusal in ALL if refusal.status == 200} | {WRITE_KEY_UNKNOWN.label}
    assert {value for (value,) in INGEST_REFUSED._metrics} == reasons
