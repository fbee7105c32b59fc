"""Rows of the column store -> the answers of the analytics endpoints, exact to the minor unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from pydantic import Field

from cdp_analytics_api.masking import masked_text
from cdp_analytics_api.notation import Money, Timestamp
from cdp_analytics_api.queries.cohorts import Cohorts
from cdp_analytics_api.queries.funnel import Funnel
from cdp_runtime.envelope import Wire
from cdp_schemas.money import to_major

Row = Mapping[str, Any]
Rows = Sequence[Row]
Counts = Mapping[tuple[str, datetime], int]


class Stats(Wire):
    """A workspace in six numbers; the days are UTC days."""

    total_profiles: int = Field(examples=[15873])
    total_events: int = Field(examples=[428561])
    total_segments: int = Field(examples=[34])
    total_audiences: int = Field(examples=[12])
    profiles_created_today: int = Field(examples=[127])
    events_tracked_today: int = Field(examples=[3892])
    as_of: Timestamp


class CountryCount(Wire):
    country: str = Field(examples=["US"])
    count: int = Field(examples=[8934])


class CurrencyRevenue(Wire):
    """The profiles whose revenue is kept in one currency, the installation's default at their last order.

    What they bought in another one counts as a purchase and is not in these amounts: each profile has its own
    `ltvByCurrency`.
    """

    currency: str = Field(examples=["USD"])
    profiles: int
    total_ltv: Money
    average_ltv: Money = Field(description="total divided by all profiles, rounded half to even to the minor unit")


class Overview(Wire):
    """The dashboard's numbers. ``averageLtv`` is in ``currency``, the one of most profiles."""

    total_profiles: int = Field(examples=[15873])
    total_events: int = Field(examples=[428561])
    average_ltv: Money
    currency: str = Field(examples=["USD"])
    average_purchase_count: float = Field(examples=[3.2])
    consent_rate: dict[str, float] = Field(
        description="purpose -> percent of all profiles that said yes", examples=[{"email": 78.5, "sms": 34.2}]
    )
    top_countries: list[CountryCount]
    revenue: list[CurrencyRevenue]
    as_of: Timestamp


class UsageMinute(Wire):
    """Where the events of one source and minute of arrival are: accepted is the sum of the other five."""

    source_id: str
    minute: Timestamp
    accepted: int | None = Field(description="null when the gateway's counts are out of reach")
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    suppressed: int = 0
    in_flight: int | None = Field(description="accepted, but not yet decided")


class FunnelStepAnswer(Wire):
    """One step of the funnel."""

    name: str = Field(examples=["product_view"])
    count: int = Field(description="profiles that got this far", examples=[2450])
    conversion_rate: float = Field(description="percent of those who took the first step", examples=[61.3])
    step_conversion_rate: float = Field(description="percent of those who took the step before", examples=[61.3])
    drop_off: int = Field(description="profiles lost since the step before", examples=[1550])
    drop_off_rate: float = Field(examples=[38.7])
    median_time_to_convert: float | None = Field(None, description="seconds from the first step", examples=[41.5])
    p90_time_to_convert: float | None = Field(None, description="seconds from the first step", examples=[612.0])


class FunnelBranch(Wire):
    """The funnel of the profiles whose first entry had one value of the breakdown property, or null for it, or none."""

    value: str | None = Field(description="``***`` where it is personal and the token lacks `profiles:pii`")
    steps: list[FunnelStepAnswer]
    conversion_rate: float


class FunnelAnswer(Wire):
    name: str | None
    steps: list[FunnelStepAnswer]
    entered: int
    converted: int
    conversion_rate: float = Field(description="percent of those who entered")
    breakdown: list[FunnelBranch] | None = Field(None, description="the 25 values that most profiles entered with")


class CohortWeek(Wire):
    """The profiles whose first start fell into one week. ``retained[k]``: there (again) k weeks later, 0 the same week.

    The list ends with the last week that was asked for.
    """

    start: date = Field(description="the week's first day (UTC)")
    profiles: int = Field(examples=[1200])
    retained: list[int] = Field(examples=[[1200, 310, 250]])
    retention_rate: list[float] = Field(description="percent of ``profiles``", examples=[[100.0, 25.8, 20.8]])


class CohortAnswer(Wire):
    weeks: list[CohortWeek]


def stats(events: Row, profiles: Row, counts: Mapping[str, int], now: datetime) -> Stats:
    return Stats(
        total_profiles=profiles["total"],
        total_events=events["total"],
        total_segments=counts.get("segments", 0),
        total_audiences=counts.get("audiences", 0),
        profiles_created_today=profiles["today"],
        events_tracked_today=events["today"],
        as_of=now,
    )


@dataclass(frozen=True, slots=True)
class OverviewRows:
    """What the statements of ``queries.totals`` gave."""

    events: Row
    revenue: Rows
    consent: Rows
    countries: Rows


def overview(rows: OverviewRows, default_currency: str, now: datetime) -> Overview:
    revenue = rows.revenue
    profiles = sum(row["profiles"] for row in revenue)
    branches = [_revenue(row) for row in revenue]
    return Overview(
        total_profiles=profiles,
        total_events=rows.events["total"],
        average_ltv=branches[0].average_ltv if branches else Decimal(0),
        currency=branches[0].currency if branches else default_currency,
        average_purchase_count=_ratio(sum(row["orders"] for row in revenue), profiles, 2),
        consent_rate={row["purpose"]: percent(row["granted"], profiles) for row in rows.consent},
        top_countries=[CountryCount(country=row["country"], count=row["profiles"]) for row in rows.countries],
        revenue=branches,
        as_of=now,
    )


def usage(outcomes: Rows, accepted: Counts | None) -> list[UsageMinute]:
    """One entry per source and minute that either side knows, the oldest first."""
    decided: dict[tuple[datetime, str], dict[str, int]] = {}
    for row in outcomes:
        minute = datetime.fromtimestamp(row["minute_s"], UTC)
        decided.setdefault((minute, row["source_id"]), {})[row["outcome"]] = row["events"]
    for source, minute in accepted or {}:
        decided.setdefault((minute, source), {})
    return [_minute(place, outcome, accepted) for place, outcome in sorted(decided.items())]


def funnel_answer(name: str | None, asked: Funnel, total: Row, branches: Rows, *, pii: bool) -> FunnelAnswer:
    steps = _steps(asked, total)
    return FunnelAnswer(
        name=name,
        steps=steps,
        entered=steps[0].count,
        converted=steps[-1].count,
        conversion_rate=steps[-1].conversion_rate,
        breakdown=[_branch(asked, row, pii) for row in branches] if asked.breakdown else None,
    )


def cohort_answer(asked: Cohorts, rows: Rows) -> CohortAnswer:
    by_week = {row["week"]: row for row in rows}
    nobody = {"profiles": 0, "retained": [0] * asked.weeks}
    return CohortAnswer(weeks=[_cohort(asked, week, by_week.get(week, nobody)) for week in range(asked.weeks)])


def _cohort(asked: Cohorts, week: int, row: Row) -> CohortWeek:
    size = row["profiles"]
    retained = list(row["retained"][: asked.weeks - week])
    rates = [percent(count, size) for count in retained]
    return CohortWeek(start=asked.starts[week], profiles=size, retained=retained, retention_rate=rates)


def percent(part: int, whole: int) -> float:
    """Percent with one digit, rounded half to even; 0 of nothing."""
    return _ratio(100 * part, whole, 1)


def _ratio(part: int, whole: int, digits: int) -> float:
    if not whole:
        return 0.0
    return float((Decimal(part) / Decimal(whole)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN))


def _revenue(row: Row) -> CurrencyRevenue:
    currency, profiles = row["currency"], row["profiles"]
    total = to_major(row["ltv_minor"], currency)
    minor = int((Decimal(row["ltv_minor"]) / profiles).quantize(Decimal(1), ROUND_HALF_EVEN))
    return CurrencyRevenue(currency=currency, profiles=profiles, total_ltv=total, average_ltv=to_major(minor, currency))


def _minute(place: tuple[datetime, str], outcome: Mapping[str, int], accepted: Counts | None) -> UsageMinute:
    minute, source = place
    decided = sum(outcome.values())
    # what is decided was accepted: the front door's own calls pass no gateway, and a killed one forgets its last second
    came = None if accepted is None else max(decided, accepted.get((source, minute), 0))
    return UsageMinute(
        source_id=source,
        minute=minute,
        accepted=came,
        stored=outcome.get("stored", 0),
        duplicate=outcome.get("duplicate", 0),
        quarantined=outcome.get("quarantined", 0),
        suppressed=outcome.get("suppressed", 0),
        in_flight=None if came is None else came - decided,
    )


def _branch(asked: Funnel, row: Row, pii: bool) -> FunnelBranch:
    steps = _steps(asked, row)
    value = row["breakdown"] if pii else masked_text(asked.breakdown or (), row["breakdown"])
    return FunnelBranch(value=value or None, steps=steps, conversion_rate=steps[-1].conversion_rate)


def _steps(asked: Funnel, row: Row) -> list[FunnelStepAnswer]:
    counts = [row[f"reached_{k}"] for k in range(1, len(asked.steps) + 1)]
    return [
        FunnelStepAnswer(
            name=step.name or step.event,
            count=count,
            conversion_rate=percent(count, counts[0]),
            step_conversion_rate=percent(count, before),
            drop_off=before - count,
            drop_off_rate=percent(before - count, before),
            **_times(row.get(f"times_{k}"), count),
        )
        for k, (step, count, before) in enumerate(zip(asked.steps, counts, [counts[0], *counts], strict=False), 1)
    ]


def _times(quantiles: Sequence[int] | None, count: int) -> dict[str, float]:
    if not quantiles or not count:
        return {}
    median, ninetieth = quantiles
    return {"median_time_to_convert": median / 1000, "p90_time_to_convert": ninetieth / 1000}
