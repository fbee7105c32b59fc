"""Nodes -> the profiles they belong to, remembered for a short while."""

from collections.abc import Iterable
from uuid import UUID

Node = tuple[str, UUID]


class RecentOwners:
    """A cache of two generations: what is asked for within ``seconds`` stays, the rest goes at the next turn.

    Another worker may move a node without our hearing of it, so nothing is believed for longer than two turns.
    """

    def __init__(self, seconds: float = 10.0, limit: int = 100_000) -> None:
        self._seconds = seconds
        self._limit = limit
        self._turned_at = 0.0
        self._young: dict[Node, UUID] = {}
        self._old: dict[Node, UUID] = {}

    def turn(self, now: float) -> None:
        """Forget the older generation when its time is up; ``now`` in monotonic seconds."""
        if now - self._turned_at >= self._seconds or len(self._young) >= self._limit:
            self._young, self._old = {}, self._young
            self._turned_at = now

    def know(self, workspace_id: str, node_id: UUID, profile_id: UUID) -> None:
        self._young[workspace_id, node_id] = profile_id

    def owner(self, workspace_id: str, node_id: UUID) -> UUID | None:
        """The profile, or None when it has to be asked for."""
        key = (workspace_id, node_id)
        return self._young.get(key) or self._old.get(key)

    def unknown(self, workspace_id: str, nodes: Iterable[UUID]) -> list[UUID]:
        return [node for node in nodes if self.owner(workspace_id, node) is None]
