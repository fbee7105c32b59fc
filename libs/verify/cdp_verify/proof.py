"""Stores and, if there is one, a journal -> a finding for each invariant I1 to I16."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx
import psycopg
from aiokafka.errors import KafkaError

from cdp_clickhouse.errors import StoreError, StoreRefused
from cdp_verify.checks.arrivals import check_arrivals
from cdp_verify.checks.components import check_components
from cdp_verify.checks.counting import check_conservation, check_counters
from cdp_verify.checks.deliveries import check_deliveries
from cdp_verify.checks.letters import check_letters
from cdp_verify.checks.memberships import check_memberships
from cdp_verify.checks.positions import check_positions, positions
from cdp_verify.checks.processes import MEMORY_LIMIT_BYTES, check_processes
from cdp_verify.checks.revenue import check_revenue
from cdp_verify.checks.texts import check_erasure, check_tenancy
from cdp_verify.findings import MEANINGS, Finding, blind, finding, not_checked
from cdp_verify.journal import Journal
from cdp_verify.stores import Stores

UNREACHABLE: Final = (StoreError, KafkaError, psycopg.Error, httpx.HTTPError, OSError)
# ClickHouse's codes for a question that does not fit its tables, or is none
_MISFITS: Final = frozenset((16, 42, 43, 46, 47, 53, 60, 62))
_NEEDS_JOURNAL: Final = "it compares with a client's journal (--journal)"


@dataclass(frozen=True, slots=True)
class Question:
    """What to prove beyond what the stores tell by themselves."""

    journal: Journal | None = None
    erased: Sequence[str] = ()
    currency: str = "USD"
    memory_limit: int = MEMORY_LIMIT_BYTES


async def prove(stores: Stores, question: Question) -> list[Finding]:
    """All invariants, in the order of their numbers. The platform should be at rest: what is in flight looks lost."""
    before = await positions(stores)
    found = [
        *await _journal_checks(stores, question),
        await _guarded("I4", check_conservation(stores)),
        await _guarded("I6", check_counters(stores)),
        await _guarded("I7", check_components(stores)),
        await _guarded("I8", check_memberships(stores, datetime.now(UTC))),
        await _guarded("I9", check_deliveries(stores)),
        await _guarded("I10", check_positions(stores, before)),
        await _guarded("I12", check_erasure(stores, question.erased)),
        *await check_processes(stores.admin_urls, question.memory_limit),
        await _guarded("I15", check_letters(stores)),
    ]
    order = list(MEANINGS)
    return sorted(found, key=lambda one: order.index(one.invariant))


async def prove_journal(stores: Stores, journal: Journal, currency: str = "USD") -> list[Finding]:
    """Only what a journal can tell, and the counting beneath it: I1 to I6. Raises one of UNREACHABLE."""
    arrivals = await check_arrivals(stores, journal)
    revenue = await check_revenue(stores, journal, arrivals.arrived, currency)
    return [*arrivals.findings, await check_conservation(stores), revenue, await check_counters(stores)]


async def _journal_checks(stores: Stores, question: Question) -> list[Finding]:
    journal = question.journal
    if journal is None:
        return [not_checked(invariant, _NEEDS_JOURNAL) for invariant in ("I1", "I2", "I3", "I5", "I11")]
    arrivals = await check_arrivals(stores, journal)
    return [
        *arrivals.findings,
        await _guarded("I5", check_revenue(stores, journal, arrivals.arrived, question.currency)),
        await _guarded("I11", check_tenancy(stores, journal.run)),
    ]


async def _guarded(invariant: str, check: Awaitable[Finding]) -> Finding:
    """A store that does not answer makes one invariant unchecked, and hides none of the others.

    One that answers, and has not what is asked for, breaks it: as long as that lasts, nobody looks.
    """
    try:
        return await check
    except UNREACHABLE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if not _is_misfit(error):
            return blind(invariant, reason)
        result = finding(invariant)
        result.wrong(f"the store has not what is asked for: {reason}")
        return result


def _is_misfit(error: Exception) -> bool:
    """Whether the question is at fault, and not the store, its limits or one's rights."""
    if isinstance(error, StoreRefused):
        return error.code in _MISFITS
    return isinstance(error, psycopg.ProgrammingError) and not isinstance(error, psycopg.errors.InsufficientPrivilege)
