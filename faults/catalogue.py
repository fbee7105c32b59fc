"""Every fault of the plan: the scenarios that are run, and the reason for each one that is not."""

from faults.scenarios import (
    addresses,
    combined,
    crashes,
    deploys,
    destinations,
    disks,
    erasure,
    inputs,
    log,
    rules,
    stores,
    tenants,
)
from faults.trial import SCENARIOS, Scenario

__all__ = ["NOT_RUN", "SCENARIOS", "chosen"]

MODULES = (
    crashes,
    stores,
    log,
    inputs,
    erasure,
    destinations,
    rules,
    tenants,
    addresses,
    deploys,
    disks,
    combined,
)  # importing them registers their scenarios

NOT_RUN: dict[str, str] = {}


def chosen(numbers: list[str]) -> list[Scenario]:
    """The scenarios of these numbers, all without any. Raises KeyError for one that is not run."""
    order = sorted(SCENARIOS, key=lambda number: int(number[1:]))
    return [SCENARIOS[number] for number in (numbers or order)]
