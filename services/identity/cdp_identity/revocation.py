"""Links that a person says are wrong -> the profiles as they would be without them, now and from then on."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from cdp_identity.application import Application, Locked, Rules
from cdp_identity.changes import Changes
from cdp_identity.graph import Pair
from cdp_identity.ports import ResolverStore, Transaction, Unlocked
from cdp_identity.rows import Key
from cdp_runtime.clock import Clock

_ATTEMPTS: Final = 100


class UnknownLinks(LookupError):
    """Some of the links do not exist, or do not hold: there is nothing to revoke."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """Links of one workspace to revoke."""

    workspace_id: str
    pairs: Collection[Pair] = field(default_factory=tuple)


async def revoke_links(store: ResolverStore, rules: Rules, clock: Clock, revocation: Revocation) -> Changes:
    """Revokes links and folds again, in one transaction; returns what to publish.

    A revoked link never holds again, whatever evidence comes; what it had kept apart may now be linked. Nothing else
    changes: the nodes kept their own events, traits, orders and consent all along. Raises UnknownLinks and
    StoreUnavailable.
    """
    extra: set[Key] = set()
    for _ in range(_ATTEMPTS):
        try:
            async with store.transaction() as tx:
                return await _revoke(tx, rules, clock, revocation, extra)
        except Unlocked as more:
            extra |= more.profiles
    raise UnknownLinks("the profiles did not stand still")


async def _revoke(
    tx: Transaction, rules: Rules, clock: Clock, revocation: Revocation, extra: Collection[Key]
) -> Changes:
    workspace_id, now = revocation.workspace_id, clock.now()
    ends = {(workspace_id, end) for pair in revocation.pairs for end in pair}
    homes = {(key[0], profile) for key, profile in (await tx.neighbours(ends)).items()}
    profiles = await tx.lock(homes | set(extra))
    locked = Locked(profiles, {row.node_id: row for row in await tx.members(profiles)})
    found = await tx.links(dict.fromkeys(revocation.pairs, workspace_id))
    held = [row for row in found.values() if row.status == "h"]
    if len(held) != len(set(revocation.pairs)) or not {end for _, end in ends} <= locked.nodes.keys():
        raise UnknownLinks("these links are not all held: look at the profile's identities again")
    revoked = [row._replace(status="v", reason="revoked") for row in held]
    await tx.save_links(revoked)
    return await Application(tx, rules, now, extra).without(locked, revoked)
