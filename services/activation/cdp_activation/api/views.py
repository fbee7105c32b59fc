"""Audiences, destinations and tallies -> what clients see of them. Pure; ``now`` decides who rests."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from cdp_activation.api.models import (
    AudienceStatus,
    AudienceView,
    CatalogEntryView,
    ConnectionView,
    DeliveryView,
    DestinationStatus,
    DestinationView,
    FailureView,
    FieldView,
    OverlapView,
    State,
    SuppressionView,
)
from cdp_activation.breaker import may_call
from cdp_activation.catalog import Audience, DeliveryRow, Destination, LinkState, Overlap, Suppression, Tally
from cdp_activation.destinations.destination import CatalogEntry, SettingField
from cdp_activation.destinations.registry import settings_of
from cdp_schemas.profiles import profile_ref

_HELD = ("suppressed", "no_consent", "unmatched")
_FAILED = ("rejected", "gave_up", "retrying")
_CONFIRM = "; if it is meant, activate again with confirm: true"


def audience_view(audience: Audience, now: datetime) -> AudienceView:
    return AudienceView(
        id=audience.audience_id,
        name=audience.name,
        description=audience.description,
        segment_ids=list(audience.segment_ids),
        platforms=list(audience.platforms),
        config=dict(audience.config),
        members=audience.members,
        connections=[_connection(link, now) for link in audience.links],
        created_at=audience.created_at,
        updated_at=audience.updated_at,
    )


def audience_status(audience: Audience, tallies: Sequence[Tally], now: datetime) -> AudienceStatus:
    destinations = [
        _status(link, [tally for tally in tallies if tally.destination_id == link.destination_id], now)
        for link in audience.links
    ]
    return AudienceStatus(id=audience.audience_id, members=audience.members, destinations=destinations)


def destination_view(destination: Destination, now: datetime) -> DestinationView:
    state, reason, retry_at = _destination_state(destination, now)
    return DestinationView(
        id=destination.destination_id,
        name=destination.name,
        type=destination.type,
        settings=dict(destination.settings),
        credentials_set=list(destination.credential_names),
        enabled=destination.enabled,
        state=state,
        reason=reason,
        retry_at=retry_at,
        created_at=destination.created_at,
        updated_at=destination.updated_at,
    )


def catalog_view(entry: CatalogEntry) -> CatalogEntryView:
    return CatalogEntryView(
        type=entry.type,
        name=entry.name,
        platform=entry.platform,
        description=entry.description,
        operations=list(entry.operations),
        api_version=entry.api_version or None,
        max_rows=entry.max_rows,
        settings=[_field(field) for field in settings_of(entry.type)],
        credentials=[_field(field) for field in entry.credentials],
        audience_settings=[_field(field) for field in entry.audience],
    )


def delivery_view(row: DeliveryRow) -> DeliveryView:
    return DeliveryView(
        profile_id=profile_ref(row.profile_id),
        destination_id=row.destination_id,
        desired=row.desired,
        acknowledged=row.acknowledged,
        pending=row.pending,
        outcome=row.outcome,
        error=row.error,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at if row.pending else None,
        changed_at=row.changed_at,
        acknowledged_at=row.acknowledged_at,
    )


def overlap_view(one: str, other: str, overlap: Overlap) -> OverlapView:
    smaller = min(overlap.size, overlap.other)
    return OverlapView(
        audience_id=one,
        compare_with=other,
        size=overlap.size,
        compare_size=overlap.other,
        overlap=overlap.both,
        overlap_percentage=round(100 * overlap.both / smaller, 2) if smaller else 0.0,
        union=overlap.size + overlap.other - overlap.both,
    )


def suppression_view(suppression: Suppression) -> SuppressionView:
    return SuppressionView(
        id=suppression.suppression_id,
        kind=suppression.kind,
        hint=suppression.hint,
        destination_id=suppression.destination_id,
        reason=suppression.reason,
        created_at=suppression.created_at,
    )


def hint(value: str) -> str:
    """``ada@example.com`` -> ``a…@e…``; other values keep their first and last character."""
    local, at, domain = value.strip().partition("@")
    if at and local and domain:
        return f"{local[0]}…@{domain[0]}…"
    return f"{local[0]}…{local[-1]}" if len(local) > 4 else "…"


def _connection(link: LinkState, now: datetime) -> ConnectionView:
    state, reason = _link_state(link, 0, now)
    return ConnectionView(
        destination_id=link.destination_id,
        destination_name=link.destination_name,
        type=link.type,
        platform=link.platform,
        settings=dict(link.settings),
        active=link.active,
        state=state,
        reason=reason,
    )


def _status(link: LinkState, tallies: Sequence[Tally], now: datetime) -> DestinationStatus:
    pending = sum(tally.count for tally in tallies if tally.pending)
    state, reason = _link_state(link, pending, now)
    return DestinationStatus(
        destination_id=link.destination_id,
        name=link.destination_name,
        type=link.type,
        platform=link.platform,
        active=link.active,
        state=state,
        reason=reason,
        desired=sum(tally.count for tally in tallies if tally.desired),
        acknowledged=sum(tally.count for tally in tallies if tally.present),
        pending=pending,
        failed=[
            FailureView(outcome=tally.outcome or "", reason=tally.error, count=tally.count)
            for tally in tallies
            if tally.outcome in _FAILED
        ],
        held={name: count for name in _HELD if (count := sum(t.count for t in tallies if t.outcome == name))},
        oldest_pending_at=min((tally.oldest for tally in tallies if tally.pending), default=None),
        replaced_at=link.replaced_at,
        replace_error=link.replace_error,
    )


def _link_state(link: LinkState, pending: int, now: datetime) -> tuple[State, str | None]:
    if link.destination_paused_reason:
        return "paused", link.destination_paused_reason
    if link.paused_class == "guard":
        return "paused", f"{link.paused_reason}{_CONFIRM}"
    if link.paused_class is not None:
        return "paused", link.paused_reason
    if link.replacing:
        return "replacing", None
    if link.throttled_until is not None and link.throttled_until > now:
        return "resting", f"the destination asked for a pause until {link.throttled_until.isoformat()}"
    if not may_call(link.breaker, now) and link.breaker.until is not None:
        return "resting", f"the destination failed repeatedly, next try at {link.breaker.until.isoformat()}"
    if pending or link.unplanned:
        return "syncing", None
    return ("in_step", None) if link.active else ("inactive", None)


def _destination_state(
    destination: Destination, now: datetime
) -> tuple[Literal["ready", "off", "paused", "throttled", "resting"], str | None, datetime | None]:
    if not destination.enabled:
        return "off", "it is switched off", None
    if destination.paused_class is not None:
        return "paused", destination.paused_reason, None
    if destination.throttled_until is not None and destination.throttled_until > now:
        return "throttled", "the destination asked for a pause", destination.throttled_until
    if not may_call(destination.breaker, now):
        return "resting", "the destination failed repeatedly", destination.breaker.until
    return "ready", None, None


def _field(field: SettingField) -> FieldView:
    return FieldView(
        name=field.name,
        label=field.label,
        type=field.type,
        help=field.help,
        required=field.required,
        default=field.default,
        choices=list(field.choices),
    )
