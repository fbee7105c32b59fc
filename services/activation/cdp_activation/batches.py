"""Members and the cells to send -> batches: alike in their cell names, bounded in rows. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from cdp_activation.destinations.destination import Batch, Cells, Operation, Row
from cdp_activation.ledger import Claimed, ConnectionKey
from cdp_activation.plan import Entry
from cdp_runtime.parts import in_parts

Member = tuple[Entry, Cells]


def batches(
    key: ConnectionKey, operation: Operation, members: Sequence[Member], claimed: Mapping[UUID, Claimed], size: int
) -> list[Batch]:
    """A member with two forms is two rows. Removing needs the very cell names of adding, so forms are not mixed."""
    alike: dict[tuple[str, ...], list[Member]] = defaultdict(list)
    for entry, cells in members:
        alike[tuple(cells)].append((entry, cells))
    return [_batch(key, operation, some, claimed) for group in alike.values() for some in in_parts(group, size)]


def _batch(
    key: ConnectionKey, operation: Operation, members: Sequence[Member], claimed: Mapping[UUID, Claimed]
) -> Batch:
    rows = [Row(n, entry.profile_id, entry.sequence, cells) for n, (entry, cells) in enumerate(members)]
    as_of = max(claimed[row.profile_id].changed_at for row in rows)
    return Batch(key.workspace_id, key.audience_id, operation, rows, as_of)
