"""What a batch says -> locks, reads, the pure decisions, writes; all inside one transaction of the caller."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from cdp_identity import changes
from cdp_identity.batch import Sayings
from cdp_identity.changes import Changes, Group
from cdp_identity.graph import Guards, Pair, other_end
from cdp_identity.newcomers import Newcomers, newcomers
from cdp_identity.ports import Transaction, Unlocked
from cdp_identity.regroup import Regrouping, earliest, reach, regroup
from cdp_identity.revenue import OrderChange, revenue_of, with_changes
from cdp_identity.rows import Key, LinkRow, NodeRow, OrderRow, ProfileRow, place
from cdp_identity.statements import Reading
from cdp_schemas.profiles import ProfileUpdated, Revenue

_NOTHING: Final = frozenset[Key]()
Ordered = Mapping[Key, Sequence[OrderChange]]  # node -> what its orders bring that changed


@dataclass(frozen=True, slots=True)
class Rules:
    """How events are read, what a profile may hold, when a messageId counts again, and what is too small to write."""

    guards: Guards
    reading: Reading = field(default_factory=Reading)
    window: timedelta = timedelta(hours=24)
    least_move: int = 300_000_000  # µs of last_seen


@dataclass(slots=True)
class Locked:
    """The profiles a transaction holds: their rows and their live nodes."""

    profiles: dict[Key, ProfileRow]
    nodes: dict[UUID, NodeRow]


class Application:
    """Applies one batch. ``extra`` are profiles that an earlier attempt found it needs."""

    def __init__(self, tx: Transaction, rules: Rules, now: datetime, extra: Collection[Key] = _NOTHING) -> None:
        self._tx, self._rules, self._now, self._extra = tx, rules, now, extra

    async def apply(self, known: Mapping[Key, NodeRow], sayings: Sayings) -> Changes:
        """Makes the batch's effects. Raises Unlocked when more profiles must be locked first."""
        orders, ordered = await self._orders(sayings)
        currency, guards = self._rules.reading.currency, self._rules.guards
        fresh, result = newcomers(known, sayings, ordered.keys(), self._now, currency, guards)
        said = [row for row in sayings.links.values() if (row.workspace_id, row.link.a) not in fresh.nodes]
        new = await self._new_links(said)
        touched = self._touched(known, sayings, new) | ordered.keys()
        if not touched:
            return Changes()
        touched -= fresh.nodes.keys()
        locked, versions = await self._lock(known, touched, fresh)
        if new:
            # another worker may have found earlier evidence before we had the lock
            new = await self._new_links(new)
        after = self._absorb(locked, sayings, touched, result)
        regrouped = await self._regroup(locked, after, new)
        found = changes.groups(after, regrouped, sayings.mentions)
        result.moved = changes.moves(locked.nodes, found, self._now, new)
        await self._tx.save_orders(orders)
        await self._fold(locked, found, result, ordered, regrouped)
        result.unused += fresh.places
        await self._save(regrouped, result, fresh.links)
        await self._tx.add_nodes(list(fresh.nodes.values()))
        number = msgspec.structs.replace
        result.updated += [number(one, version=versions[one.workspace_id, one.profile_id]) for one in fresh.profiles]
        result.moved += [number(one, version=versions[one.workspace_id, one.profile_id]) for one in fresh.moved]
        return result

    async def without(self, locked: Locked, revoked: Sequence[LinkRow]) -> Changes:
        """The effects of links that no longer hold, for profiles that are locked already."""
        regrouped = await self._regroup(locked, locked.nodes, (), revoked)
        found = changes.groups(locked.nodes, regrouped, {})
        result = Changes(moved=changes.moves(locked.nodes, found, self._now, ()))
        await self._fold(locked, found, result, {}, regrouped)
        await self._save(regrouped, result)
        return result

    async def _new_links(self, said: Collection[LinkRow]) -> list[LinkRow]:
        if not said:
            return []
        return earliest(await self._tx.links({row.link.pair: row.workspace_id for row in said}), said)

    async def _orders(self, sayings: Sayings) -> tuple[list[OrderRow], Ordered]:
        """The orders that change, and what that changes for the nodes that they are and were of."""
        if not sayings.orders:
            return [], {}
        stored = await self._tx.orders(sayings.orders)
        rows: list[OrderRow] = []
        ordered: defaultdict[Key, list[OrderChange]] = defaultdict(list)
        for key, said in sayings.orders.items():
            old = stored.get(key)
            order = said if old is None else old.order.join(said)
            if old is None or order != old.order:
                rows.append(OrderRow(*key, order, order.total()))
                before = None if old is None else old.total
                if old is not None and old.order.owner.node != order.owner.node:
                    ordered[key[0], old.order.owner.node].append(OrderChange(before, None))
                    before = None
                ordered[key[0], order.owner.node].append(OrderChange(before, rows[-1].total))
        return rows, ordered

    def _touched(self, known: Mapping[Key, NodeRow], sayings: Sayings, new: Iterable[LinkRow]) -> set[Key]:
        least = self._rules.least_move
        touched = {(row.workspace_id, end) for row in new for end in row.link.pair}
        for node, mention in sayings.mentions.items():
            key = (mention.workspace_id, node)
            if key not in touched and changes.needs_write(known.get(key), mention, least):
                touched.add(key)
        return touched

    async def _lock(
        self, known: Mapping[Key, NodeRow], touched: set[Key], fresh: Newcomers
    ) -> tuple[Locked, Mapping[Key, int]]:
        """Locks and reads; makes the newcomers' profiles, and places for all other nodes that are new.

        With it, the versions of what was made: 0 for a place.
        """
        elsewhere = touched - known.keys()
        # the owner of an order that another profile speaks of now, or a node that is new
        rows = {**known, **(await self._tx.nodes(elsewhere) if elsewhere else {})}
        live = {key: row for key in touched if (row := rows.get(key)) is not None and row.is_live}
        existing = {(row.workspace_id, row.profile_id) for row in live.values()}
        places = touched - live.keys()
        made = await self._tx.make(fresh.profiles, [*places, *fresh.places], self._now)
        profiles = await self._tx.lock(existing | set(self._extra) | (places - made.keys()))
        if not existing <= profiles.keys() or not fresh.nodes.keys() <= made.keys():
            raise Unlocked(_NOTHING)  # one was merged away or made meanwhile: read again where its nodes are
        nodes = {row.node_id: row for row in await self._tx.members(profiles)}
        profiles |= {key: place(key, self._now) for key in places & made.keys()}
        missing = fresh.nodes.keys() | {key for key in touched if key[1] not in nodes}
        if missing:
            found = await self._tx.nodes(missing)
            moved = {(row.workspace_id, row.profile_id) for row in found.values() if row.is_live}
            if moved or not fresh.nodes.keys().isdisjoint(found):
                raise Unlocked(moved)
        return Locked(profiles, nodes), made

    def _absorb(self, locked: Locked, sayings: Sayings, touched: set[Key], result: Changes) -> dict[UUID, NodeRow]:
        after = dict(locked.nodes)
        for node, mention in sayings.mentions.items():
            if node in after or (mention.workspace_id, node) in touched:
                after[node] = changes.absorb(after.get(node), mention, result)
        result.nodes = [row for node, row in after.items() if row != locked.nodes.get(node)]
        return after

    async def _regroup(
        self,
        locked: Locked,
        nodes: Mapping[UUID, NodeRow],
        new: Sequence[LinkRow],
        revoked: Sequence[LinkRow] = (),
    ) -> Regrouping:
        crowded = {row.profile_id for row in locked.nodes.values() if row.profile_id != row.node_id}
        many = {(row.workspace_id, node) for node, row in locked.nodes.items() if row.profile_id in crowded}
        held = await self._tx.held_links(many) if many else []
        turned = await self._turned(nodes, locked, [*new, *revoked]) if new or revoked else []
        return regroup(nodes, [*held, *turned], new, self._rules.guards, revoked)

    async def _turned(self, nodes: Mapping[UUID, NodeRow], locked: Locked, causes: Sequence[LinkRow]) -> list[LinkRow]:
        """Refused links that other links may turn; they may lead to profiles that must be locked first."""
        found: dict[Pair, LinkRow] = {}
        while True:
            since = {key: at for key, at in reach(nodes, causes, found.values()).items() if key[1] in locked.nodes}
            rows = {row.link.pair: row for row in await self._tx.open_links(since)} if since else {}
            far = {
                (row.workspace_id, other_end(row.link, end))
                for row in rows.values()
                for end in row.link.pair
                if end in locked.nodes and other_end(row.link, end) not in locked.nodes
            }
            if far:
                profiles = await self._tx.neighbours(far)
                raise Unlocked({(key[0], profile) for key, profile in profiles.items()} | set(self._extra))
            if rows.keys() <= found.keys():
                return list(found.values())
            found |= rows

    async def _fold(
        self, locked: Locked, found: dict[Key, Group], result: Changes, ordered: Ordered, regrouped: Regrouping
    ) -> None:
        """Golden records of all groups that are not as before."""
        spoken = {node for _, node in ordered}
        # a link alone can change what is allowed: consent asks since when two nodes are one profile
        linked = {end for row in regrouped.links for end in row.link.pair}
        changed = spoken | linked | {row.node_id for row in result.nodes}
        stale = [group for group in found.values() if group.is_new_set or group.has(changed)]
        revenues = await self._revenues(locked, stale, ordered)
        for group in stale:
            before = locked.profiles.get(group.key)
            record = changes.fold_profile(group, self._created_at(locked, group), revenues[group.key])
            is_same = before is not None and before.version > 0 and not group.is_new_set
            if (
                before is None
                or not is_same
                or changes.is_news(record, before, self._rules.least_move)
                or changes.reorders(record, group, locked.nodes)
            ):
                result.updated.append(record)
        self._find_gone(locked, found, result)

    async def _revenues(self, locked: Locked, stale: Sequence[Group], ordered: Ordered) -> dict[Key, Revenue]:
        """What the profile has, with the orders that changed; from the ledger where that does not tell it."""
        currency = self._rules.reading.currency
        known = {key: row.revenue for key, row in locked.profiles.items() if row.version > 0}
        revenues: dict[Key, Revenue] = {}
        for group in stale:
            changed = [one for row in group.nodes for one in ordered.get((row.workspace_id, row.node_id), ())]
            before = None if group.is_new_set else known.get(group.key)
            after = with_changes(before, changed, currency) if before is not None and changed else before
            if after is not None:
                revenues[group.key] = after
        counted = [group for group in stale if group.key not in revenues]
        sums = await self._tx.sums({(row.workspace_id, row.node_id) for group in counted for row in group.nodes})
        for group in counted:
            rows = [one for row in group.nodes for one in sums.get((row.workspace_id, row.node_id), ())]
            revenues[group.key] = revenue_of(rows, currency)
        return revenues

    def _created_at(self, locked: Locked, group: Group) -> datetime:
        keys = {group.key} | {(row.workspace_id, row.profile_id) for row in group.nodes}
        rows = [locked.profiles[key] for key in keys if key in locked.profiles]
        return min((row.created_at for row in rows if row.version > 0), default=self._now)

    def _find_gone(self, locked: Locked, found: Mapping[Key, Group], result: Changes) -> None:
        homes = {row.node_id: key[1] for key, group in found.items() for row in group.nodes}
        for key, row in locked.profiles.items():
            if key in found:
                continue
            if row.version == 0:
                result.unused.append(key)
            else:
                into = homes.get(key[1])
                result.gone.append(ProfileUpdated(*key, 0, self._now, deleted=True, merged_into=into))

    async def _save(self, regrouped: Regrouping, result: Changes, links: Sequence[LinkRow] = ()) -> None:
        await self._number(result)
        written = [row._replace(profile_id=regrouped.profile_of[row.node_id]) for row in result.nodes]
        rest = {row.node_id for row in written}
        moved = {(m.workspace_id, m.node_id): m.profile_id for m in result.moved if m.node_id not in rest}
        await self._tx.save_nodes(written, moved)
        links = [*links, *regrouped.links]
        await self._tx.save_links(links)
        result.refused = [row.reason for row in links if row.reason]
        gone = [(record.workspace_id, record.profile_id) for record in result.gone]
        await self._tx.save_profiles(result.updated, [*gone, *result.unused])
        await self._tx.save_consents(result.consents)

    async def _number(self, result: Changes) -> None:
        """Versions for all that changed; a node's move has the version of the profile it moves to."""
        versions = iter(await self._tx.versions(len(result.updated) + len(result.gone)))
        number = msgspec.structs.replace
        result.updated = [number(record, version=next(versions), updated_at=self._now) for record in result.updated]
        result.gone = [number(record, version=next(versions)) for record in result.gone]
        of = {(record.workspace_id, record.profile_id): record.version for record in result.updated}
        result.moved = [number(m, version=of[m.workspace_id, m.profile_id]) for m in result.moved]
