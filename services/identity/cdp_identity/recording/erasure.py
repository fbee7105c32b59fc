"""Erased profiles and nodes -> their rows gone from the store, also those that another worker is still inserting."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from cdp_identity.recording.blocks import Block, milliseconds
from cdp_identity.recording.draft import Draft
from cdp_identity.recording.owners import Node
from cdp_identity.recording.ports import ColumnStore, Erasure, Ledger
from cdp_identity.recording.protocol import Place
from cdp_runtime import metrics
from cdp_runtime.patience import Patience
from cdp_schemas.tables import EVENTS

# an event is at most as late as the log keeps it; older erasures cannot meet one any more
_REMEMBERED: Final = timedelta(days=8)


class Erasures:
    """Remembers which nodes were erased and removes their rows.

    An erasure is saved before rows are removed, and looked up after rows were inserted: whichever of two workers comes
    second sees the other's work, so a row of an erased node cannot stay.
    """

    def __init__(self, store: ColumnStore, ledger: Ledger, patience: Patience) -> None:
        self._store, self._ledger, self._patience = store, ledger, patience
        self._until: dict[Node, datetime] = {}
        self._sequence = 0

    @property
    def until(self) -> Mapping[Node, datetime]:
        """Node -> up to which arrival it was erased."""
        return self._until

    async def save(self, draft: Draft) -> list[Erasure]:
        """Save what the draft erases, before anything of it is removed."""
        erasures = [Erasure(move.workspace_id, move.node_id, move.at) for move in draft.erased]
        if erasures:
            await self._patience.until_done(lambda: self._ledger.erase(erasures))
        return erasures

    async def learn(self, now: datetime) -> None:
        """Read what any worker has saved since the last time."""
        since = now - _REMEMBERED
        for erasure in await self._patience.until_done(lambda: self._ledger.erasures(self._sequence, since)):
            node = (erasure.workspace_id, erasure.node_id)
            self._until[node] = max(erasure.until, self._until.get(node, erasure.until))
            self._sequence = max(self._sequence, erasure.sequence)

    async def remove(self, erasures: Iterable[Erasure]) -> None:
        """Remove the rows of these nodes."""
        groups: dict[tuple[str, datetime], list[UUID]] = defaultdict(list)
        for erasure in erasures:
            groups[erasure.workspace_id, erasure.until].append(erasure.node_id)
        for (workspace_id, until), nodes in groups.items():
            await self._erase(workspace_id, nodes, until)

    async def forget(self, draft: Draft) -> None:
        """Remove the golden records that are older than an erasure, also of profiles that were merged away before it.

        Those may be written late, by a worker that lags behind: their last message is that they were merged away.
        """
        told = [
            (update.workspace_id, update.profile_id, update.version)
            for update in draft.deleted
            if update.merged_into is None or (update.workspace_id, update.profile_id) in self._until
        ]
        told += ((move.workspace_id, move.node_id, move.version) for move in draft.erased)
        versions: dict[str, dict[UUID, int]] = defaultdict(dict)
        for workspace_id, profile_id, version in told:
            of_workspace = versions[workspace_id]
            of_workspace[profile_id] = max(version, of_workspace.get(profile_id, version))
        for workspace_id, profiles in versions.items():
            await self._forget(workspace_id, profiles)

    def met(self, arrivals: Mapping[str, Mapping[UUID, datetime]]) -> list[Erasure]:
        """The erasures that events concern: workspace -> node -> oldest arrival."""
        return [
            Erasure(workspace_id, node, self._until[workspace_id, node])
            for workspace_id, nodes in arrivals.items()
            for node, oldest in nodes.items()
            if (workspace_id, node) in self._until and oldest <= self._until[workspace_id, node]
        ]

    async def _forget(self, workspace_id: str, versions: Mapping[UUID, int]) -> None:
        await self._patience.until_done(lambda: self._store.forget(workspace_id, versions))

    async def _erase(self, workspace_id: str, nodes: list[UUID], until: datetime) -> None:
        await self._patience.until_done(lambda: self._store.erase(workspace_id, nodes, until))
        metrics.RECORDER_ERASED_NODES.inc(len(nodes))


def standing(block: Block, until: Mapping[Node, datetime]) -> list[Place]:
    """The places of the rows that no erasure concerns."""
    if block.table != EVENTS.name or not until:
        return list(block.received)
    columns = (block.column(name) for name in ("workspace_id", "node_id", "received_at"))
    rows = zip(*columns, block.received, strict=True)
    return [
        offset
        for workspace_id, node, arrived, offset in rows
        if (erased := until.get((workspace_id, node))) is None or arrived > milliseconds(erased)
    ]
