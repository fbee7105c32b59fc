"""What a flush wrote -> ProfilesRecorded messages: whose facts are new, who is gone, how old the cause is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from cdp_runtime.parts import in_parts
from cdp_schemas.profiles import NodeMoved, ProfilesRecorded, ProfileUpdated

MESSAGE_LIMIT: Final = 1000


@dataclass(slots=True)
class Touched:
    """Profiles of one flush, by workspace: the changed with the oldest arrival behind that, the gone with the profile
    that they were merged into."""

    changed: dict[str, dict[UUID, datetime | None]] = field(default_factory=dict)
    gone: dict[str, dict[UUID, UUID | None]] = field(default_factory=dict)

    def add(self, workspace_id: str, profile_id: UUID, received_at: datetime | None) -> None:
        """This profile has new facts; the older arrival counts."""
        profiles = self.changed.setdefault(workspace_id, {})
        before = profiles.get(profile_id)
        profiles[profile_id] = received_at if before is None else min(before, received_at or before)

    def update(self, updates: Iterable[ProfileUpdated]) -> None:
        """These golden records were written; the deleted are gone."""
        for update in updates:
            if update.deleted:
                self.gone.setdefault(update.workspace_id, {})[update.profile_id] = update.merged_into
            else:
                self.add(update.workspace_id, update.profile_id, update.received_at)

    def move(self, moves: Iterable[NodeMoved]) -> None:
        """These nodes brought their events along: the record that says so may have been written earlier."""
        for one in moves:
            if one.reason != "erased":
                self.add(one.workspace_id, one.profile_id, None)

    def messages(self, now: datetime) -> Iterator[ProfilesRecorded]:
        """At most 1,000 ids a message, one workspace each; a profile that is gone is not also changed."""
        for workspace_id in sorted(self.changed.keys() | self.gone.keys()):
            gone = self.gone.get(workspace_id, {})
            changed = {key: at for key, at in self.changed.get(workspace_id, {}).items() if key not in gone}
            for some in in_parts(changed, MESSAGE_LIMIT):
                oldest = min((at for one in some if (at := changed[one]) is not None), default=None)
                yield ProfilesRecorded(workspace_id, some, now, received_at=oldest)
            for left in in_parts(gone, MESSAGE_LIMIT):
                merged = {one: into for one in left if (into := gone[one]) is not None}
                yield ProfilesRecorded(workspace_id, [], now, gone=left, merged_into=merged)
