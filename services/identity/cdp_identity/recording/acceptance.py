"""Golden records that ClickHouse refused -> the same without the traits that it cannot hold."""

from collections.abc import Sequence

from msgspec.structs import replace

from cdp_identity.recording.ports import ColumnStore
from cdp_runtime import metrics
from cdp_runtime.logs import get_logger
from cdp_schemas.codec import encode
from cdp_schemas.profiles import ProfileUpdated

_log = get_logger(__name__)


async def accepted(updates: Sequence[ProfileUpdated], store: ColumnStore) -> list[ProfileUpdated]:
    """The updates in order; one whose traits are refused loses those traits, never its row."""
    if not updates or await store.acceptable([encode(update.traits).decode() for update in updates]):
        return list(updates)
    if len(updates) == 1:
        return [await _without_refused(updates[0], store)]
    half = len(updates) // 2
    return [*await accepted(updates[:half], store), *await accepted(updates[half:], store)]


async def _without_refused(update: ProfileUpdated, store: ColumnStore) -> ProfileUpdated:
    kept = {
        name: content
        for name, content in update.traits.items()
        if await store.acceptable([encode({name: content}).decode()])
    }
    if kept and not await store.acceptable([encode(kept).decode()]):
        kept = {}  # each is fine alone, but not together
    dropped = sorted(update.traits.keys() - kept.keys())
    metrics.RECORDER_DROPPED_TRAITS.inc(len(dropped))
    _log.warning("traits_dropped", workspace=update.workspace_id, profile=str(update.profile_id), traits=dropped)
    return replace(update, traits=kept)
