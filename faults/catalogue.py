"""Every fault of the plan: the scenarios that are run, and the reason for each one that is not."""

from faults.scenarios import combined, crashes, destinations, erasure, inputs, log, stores
from faults.trial import SCENARIOS, Scenario

__all__ = ["NOT_RUN", "SCENARIOS", "chosen"]

MODULES = (crashes, stores, log, inputs, erasure, destinations, combined)  # importing them registers their scenarios

NOT_RUN = {
    "F4": "there is no second release yet to mix with this one",
    "F10": "tests/integration/identity/test_recorder.py runs it with a window of three blocks, at three crash points",
    "F17": "a small volume needs the right to mount, and a file size limit kills the parts instead of filling a disk",
    "F24": "tests/integration/segmenter covers rules edited while they are evaluated; not yet under load from outside",
    "F25": "one workspace is seeded here; the architecture and contract tests cover isolation",
    "F26": "tests/unit/activation covers addresses that may not be called",
}


def chosen(numbers: list[str]) -> list[Scenario]:
    """The scenarios of these numbers, all without any. Raises KeyError for one that is not run."""
    order = sorted(SCENARIOS, key=lambda number: int(number[1:]))
    return [SCENARIOS[number] for number in (numbers or order)]
