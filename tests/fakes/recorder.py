"""The recorder's outside in memory: a ledger with epochs, a column store with tokens, views and lost replies."""

from collections import Counter, OrderedDict

from cdp_clickhouse.errors import StoreUnavailable
from cdp_identity.recording.blocks import milliseconds
from cdp_identity.recording.ports import Fenced
from cdp_identity.recording.protocol import Claim, Presence


class FakeLedger:
    """Claims and intents in dicts."""

    def __init__(self):
        self.claims = {}
        self.open = {}
        self.saved_erasures = []
        self.aliases = {}

    async def claim(self, partitions):
        for partition in partitions:
            before = self.claims.get(partition)
            epoch = before.epoch + 1 if before else 1
            self.claims[partition] = _with_epoch(before, partition, epoch)
        return [(self.claims[partition], self.open.get(partition, ())) for partition in partitions]

    async def intend(self, claims, intents):
        self._check(claims)
        self.open.update({claim.partition: tuple(intents) for claim in claims})

    async def close(self, claims):
        self._check(claims)
        for claim in claims:
            assert claim.next_offset >= self.claims[claim.partition].next_offset, "a claim never goes back"
            self.claims[claim.partition] = claim
            self.open.pop(claim.partition, None)

    async def erase(self, erasures):
        for erasure in erasures:
            self.saved_erasures.append(erasure._replace(sequence=len(self.saved_erasures) + 1))

    async def erasures(self, after, since):
        return [erasure for erasure in self.saved_erasures if erasure.sequence > after and erasure.until >= since]

    async def owners(self, workspace_id, nodes):
        return {node: self.aliases[node] for node in nodes if node in self.aliases}

    def _check(self, claims):
        lost = [claim.partition for claim in claims if self.claims[claim.partition].epoch != claim.epoch]
        if lost:
            raise Fenced(lost)


def _with_epoch(before, partition, epoch):
    if before is None:
        return Claim(partition, epoch)
    return Claim(partition, epoch, before.next_offset, before.next_received_offset, before.generation)


class FakeColumns:
    """Blocks as rows; a token counts once per table while it is among the last ``window``."""

    def __init__(self, window=10_000):
        self.window = window
        self.rows = {"events": [], "event_outcomes": [], "profiles": [], "profile_aliases": []}
        self.counters = Counter()
        self.stored = Counter()
        self.viewed = set()
        self.tokens = {"events": OrderedDict(), "views": OrderedDict(), "others": OrderedDict()}
        self.blocks = 0
        self.inserts = []
        # "refused" before anything, "lost" reply after all, "half": the views missed it; killed after a token was
        # logged and before its rows were there: "behind" in the views, "ahead" of them in the table itself
        self.faults = []
        self.bad_traits = set()

    async def insert(self, block):
        fault = self.faults.pop(0) if self.faults else None
        if fault == "refused":
            raise StoreUnavailable("too many parts")
        self.inserts.append(block.token)
        rows = [dict(zip(block.names, row, strict=True)) for row in zip(*block.columns, strict=True)]
        if fault == "ahead":
            rows = []
        if block.table == "events":
            self._insert_events(block, rows, fault)
        elif block.token is None or self._new("others", block.token):
            self.rows[block.table].extend(rows)
        if fault is not None:
            raise StoreUnavailable("connection reset by peer")

    async def presence(self, block):
        if block.table == "event_outcomes":
            counted = all(
                any(
                    row["received_partition"] == number and row["last_offset"] >= max(offsets)
                    for row in self.rows["event_outcomes"]
                )
                for number, offsets in block.offsets().items()
            )
            return Presence(frozenset(block.received) if counted else frozenset(), 1 << 62)
        mine = {(row["received_partition"], row["received_offset"]): row for row in self.rows["events"]}
        found = {place: mine[place] for place in block.received if place in mine}
        is_told = found and not any("rewritten" in row for row in found.values())
        since = self.blocks - min(row["_block"] for row in found.values()) if is_told else 1 << 62
        return Presence(frozenset(found), since, self.viewed.issuperset(block.received))

    async def repair(self, block):
        if block.table != "events":
            return
        for node in set(block.column("node_id")):
            self.counters[node] = sum(row["node_id"] == node for row in self.rows["events"])
        for partition in block.offsets():
            there = sum(row["received_partition"] == partition for row in self.rows["events"])
            self.stored[partition] = max(there, self.stored[partition])  # nothing is taken away
        self.viewed.update(block.received)

    async def erase(self, workspace_id, nodes, until):
        self.rows["events"] = [
            row
            for row in self.rows["events"]
            if row["node_id"] not in nodes or row["received_at"] > milliseconds(until)
        ]
        for node in nodes:
            self.counters[node] = sum(row["node_id"] == node for row in self.rows["events"])

    async def forget(self, workspace_id, versions):
        self.rows["profiles"] = [
            row
            for row in self.rows["profiles"]
            if row["deleted"] or row["version"] >= versions.get(row["profile_id"], 0)
        ]

    async def acceptable(self, objects):
        return not any(bad in text for bad in self.bad_traits for text in objects)

    def _insert_events(self, block, rows, fault):
        if self._new("events", block.token):
            self.blocks += 1
            self.rows["events"].extend({**row, "_block": self.blocks} for row in rows)
        if fault in ("half", "ahead") or "rewritten" in block.names:
            return
        # like ClickHouse: a block that the table has already still goes to the views, which remember tokens themselves
        if self._new("views", block.token) and fault != "behind":
            self.counters.update(row["node_id"] for row in rows)
            self.stored.update(row["received_partition"] for row in rows)
            self.viewed.update(block.received)

    def _new(self, log, token):
        tokens = self.tokens[log]
        if token in tokens:
            return False
        tokens[token] = None
        while len(tokens) > self.window:
            tokens.popitem(last=False)
        return True
