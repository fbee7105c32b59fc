"""Hand-written fakes of the activation service's ports."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from cdp_activation.profile import Profile


class FakeProfileReader:
    """Profiles in a dict; ``store[workspace_id, profile_id]``."""

    def __init__(self) -> None:
        self.store: dict[tuple[str, UUID], Profile] = {}

    def put(self, workspace_id: str, profile: Profile) -> None:
        self.store[workspace_id, profile.profile_id] = profile

    async def read(self, workspace_id: str, profile_ids: Sequence[UUID]) -> Mapping[UUID, Profile]:
        return {id_: self.store[workspace_id, id_] for id_ in profile_ids if (workspace_id, id_) in self.store}
