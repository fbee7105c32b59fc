"""Claimed rows -> what is true of their profiles at the moment of sending: fields, consent, suppression."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from cdp_activation.destinations.destination import Config, Destination
from cdp_activation.ledger import Claimed, DestinationState
from cdp_activation.plan import Entry, Gates, Plan, plan
from cdp_activation.policies import WorkerPorts
from cdp_activation.profile import Profile, fingerprint


@dataclass(frozen=True, slots=True)
class Facts:
    """``keys`` are those of everything that a profile can be suppressed by."""

    profiles: Mapping[UUID, Profile]
    keys: Mapping[UUID, Sequence[int]]
    gates: Gates

    def fingerprint(self, claimed: Claimed) -> bytes | None:
        """Of the profile that the decision was made on; None when none was read."""
        profile = self.profiles.get(claimed.entry.profile_id)
        return None if profile is None else fingerprint(profile)


async def gather(ports: WorkerPorts, state: DestinationState, claimed: Sequence[Claimed]) -> Facts:
    """Raises StoreUnavailable; then nothing was decided and the rows stay due."""
    wanted = [row.entry.profile_id for row in claimed if row.entry.desired]
    profiles = await ports.profiles.read(state.key.workspace_id, wanted) if wanted else {}
    keys = {profile_id: _keys(ports, profile_id, profiles.get(profile_id)) for profile_id in wanted}
    asked = {id_: [*keys[id_], *_earlier(ports, state, profiles.get(id_))] for id_ in wanted}
    suppressed = await ports.ledger.suppressed(state.key, asked)
    purposes = state.settings.get("consentPurposes") or ()
    unknown = state.settings.get("consentWhenUnknown") == "allow"
    return Facts(profiles, keys, Gates(tuple(purposes), unknown, suppressed))


def planned(entries: Sequence[Entry], facts: Facts, destination: Destination, config: Config) -> Plan:
    """What is to be done at one destination, by what is true of the profiles."""
    return plan(
        entries,
        facts.profiles,
        facts.gates,
        lambda profile: destination.cells(profile, config),
        destination.match_values,
    )


def _keys(ports: WorkerPorts, profile_id: UUID, profile: Profile | None) -> list[int]:
    if profile is None:
        return [ports.keyring.identifier("profile_id", str(profile_id))]
    return ports.keyring.of_profile(profile)


def _earlier(ports: WorkerPorts, state: DestinationState, profile: Profile | None) -> list[int]:
    """Whoever is suppressed by profile id stays so under the id that a sign-in or a merge gives them."""
    return [] if profile is None else ports.keyring.of_earlier_ids(state.key.workspace_id, profile)
