# ruff: noqa: S608 - every value is bound, every name quoted by `identifier`
"""A scope -> the SQL of the rows within it: profiles, and events with the profile that their node belongs to by now."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from cdp_segmenter.rules.bound import Bound
from cdp_segmenter.rules.nodes import among_sql, named_sql
from cdp_segmenter.rules.scope import NODE_PROFILE, Scope, aliases_sql, bucket_ends

# Events and aliases both come ordered by node, so they are merged: a hash table of all aliases is larger than a
# processor's cache, and every event would miss it.
_BY_ORDER: Final = " SETTINGS join_algorithm = 'partial_merge'"


@dataclass(slots=True)
class ScopeRows:
    """The FROM clauses of one statement about a scope."""

    bound: Bound
    scope: Scope
    _ids: list[tuple[Sequence[UUID], str]] = field(default_factory=list)

    def profiles(self) -> str:
        """``FROM profiles``, the newest version of each within scope."""
        return f"FROM profiles FINAL WHERE workspace_id = {self._workspace()}{self._only('profile_id')}"

    def events(self, names: tuple[str, ...], since: datetime | None, *, properties: bool = False) -> str:
        """Rows ``profile_id, name, ms[, properties]`` of the events of these names; ``name`` 1 is the first of them."""
        more = ", properties" if properties else ""
        events = (
            f"SELECT node_id, {named_sql(self.bound, names)}{more} FROM events "
            f"WHERE workspace_id = {self._workspace()}{among_sql(self.bound, names, since)}{self._only_nodes()}"
        )
        return f"SELECT {NODE_PROFILE} AS profile_id, name, ms{more} FROM ({events}) AS v {self._aliases()}"

    def is_one_of(self, ids: Sequence[UUID]) -> str:
        """A condition: the profile is among these, however many."""
        return f"profile_id IN {self._bound_ids(ids)}"

    def _only(self, column: str) -> str:
        within = self._within(column)
        return f" AND {within}" if within else ""

    def _within(self, column: str) -> str:
        """Whether a profile's id is in scope; empty when every one is."""
        if self.scope.profiles is not None:
            return f"{column} IN {self._bound_ids(self.scope.profiles)}"
        if self.scope.buckets is not None:
            low, high = bucket_ends(*self.scope.buckets)
            return f"{column} BETWEEN {self.bound('UUID', low)} AND {self.bound('UUID', high)}"
        return ""

    def _only_nodes(self) -> str:
        """Nodes that are, or by an alias belong or once belonged to, a profile in scope."""
        if not self._within("node_id"):
            return ""
        return f" AND ({self._within('node_id')} OR node_id IN ({self._moved()}))"

    def _moved(self) -> str:
        # without FINAL, which would put all aliases of the workspace in order for the sake of a few: a node that has
        # gone on since is brought to whom it belongs by now, and that is nobody in scope
        return f"SELECT node_id FROM profile_aliases WHERE workspace_id = {self._workspace()}{self._only('profile_id')}"

    def _aliases(self) -> str:
        """The join that brings the profile of each of those nodes that moved."""
        if not self._within("node_id"):
            return f"{aliases_sql(self._workspace())}{_BY_ORDER}"
        newest = (
            "SELECT a.node_id AS node_id, argMax(a.profile_id, a.version) AS profile_id FROM profile_aliases AS a "
            f"WHERE a.workspace_id = {self._workspace()} "
            f"AND ({self._within('a.node_id')} OR a.node_id IN ({self._moved()})) GROUP BY a.node_id"
        )
        return f"LEFT ANY JOIN ({newest}) AS n ON n.node_id = v.node_id"

    def _bound_ids(self, ids: Sequence[UUID]) -> str:
        # the hash of a UUID is computed in Python: once for thousands of them, not once per mention
        for known, placeholder in self._ids:
            if known is ids:
                return placeholder
        self._ids.append((ids, self.bound("Array(UUID)", tuple(ids))))
        return self._ids[-1][1]

    def _workspace(self) -> str:
        return self.bound("String", self.scope.workspace_id)
