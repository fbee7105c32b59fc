"""How patient, careful and fast the worker is: frozen data. What it reaches: the ports together."""

from dataclasses import dataclass, field
from datetime import timedelta

from cdp_activation.breaker import BreakerPolicy
from cdp_activation.guard import GuardPolicy
from cdp_activation.keys import Keyring
from cdp_activation.ports import Calls, Directory, Holdings, Ledger, ProfileReader
from cdp_activation.retry import RetryPolicy
from cdp_runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Policies:
    """``rows_per_round`` bounds what one turn of one audience may take; ``guard_window`` what the guard looks back."""

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    guard: GuardPolicy = field(default_factory=GuardPolicy)
    guard_window: timedelta = timedelta(minutes=10)
    poll_seconds: float = 0.5
    rows_per_round: int = 10_000
    phone_region: str = "US"


@dataclass(frozen=True, slots=True)
class WorkerPorts:
    """Everything the worker reaches."""

    directory: Directory
    ledger: Ledger
    profiles: ProfileReader
    calls: Calls
    holdings: Holdings
    clock: Clock
    keyring: Keyring
