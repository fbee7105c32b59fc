"""A delete call -> a profile wiped to the marks of its erasure, which keep its late events and replays out."""

from datetime import datetime

from cdp_identity.changes import Changes
from cdp_identity.ports import Transaction, Unlocked
from cdp_identity.rows import Key, NodeRow
from cdp_schemas.profiles import NodeMoved, ProfileUpdated


async def erase(tx: Transaction, row: NodeRow, erased_at: datetime, now: datetime) -> Changes:
    """Erases the whole profile of a live node. Raises Unlocked when the node has moved meanwhile.

    Every node becomes its own again and keeps nothing but (workspace, node, erased_at). Moves with the reason
    ``erased`` and ``at`` = ``erased_at`` tell the column store what to remove.
    """
    key: Key = (row.workspace_id, row.profile_id)
    locked = await tx.lock({key})
    nodes = await tx.members({key})
    if key not in locked or row.node_id not in {node.node_id for node in nodes}:
        raise Unlocked(())
    await tx.erase(nodes, erased_at)
    await tx.save_profiles([], [key])
    version, *versions = await tx.versions(len(nodes) + 1)
    gone = ProfileUpdated(*key, version, now, deleted=True)
    moved = [
        NodeMoved(node.workspace_id, node.node_id, key[1], node.node_id, number, erased_at, "erased")
        for node, number in zip(nodes, versions, strict=True)
    ]
    return Changes(gone=[gone], moved=moved)
