"""The topic cards (``topics/*.yaml``) as values: names, partitions, retention, message classes."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

EVENTS_RECEIVED: Final = "events-received"
EVENTS_RECEIVED_DLQ: Final = "events-received-dlq"
EVENTS_IDENTIFIED: Final = "events-identified"
PROFILES_UPDATED: Final = "profiles-updated"
PROFILES_MERGED: Final = "profiles-merged"
PROFILES_RECORDED: Final = "profiles-recorded"
MEMBERSHIPS_CHANGED: Final = "memberships-changed"
DELIVERIES_REPORTED: Final = "deliveries-reported"

_DAY_MS: Final = 24 * 3_600_000
# a reader that was down for a week still sees every message, not only the last of each key
_COMPACT_AFTER_MS: Final = 7 * _DAY_MS
# also where little is written: what was said of a person who is erased must not stay below the empty record
_COMPACT_BEFORE_MS: Final = 14 * _DAY_MS
CARDS_DIR: Final = Path(__file__).parent / "topics"
EXAMPLES_DIR: Final = Path(__file__).parent / "examples"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic card. ``retention_hours`` None means for ever (then it is compacted).

    ``earlier``: the messages of earlier versions where those were others than ``message``, from version 1 on.
    """

    name: str
    description: str
    key: str
    message: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    versions: tuple[int, ...]
    partitions: int
    retention_hours: int | None
    compacted: bool
    max_message_bytes: int
    earlier: tuple[str, ...] = ()

    @property
    def config(self) -> dict[str, str]:
        """The broker's settings for this topic."""
        common = {
            # only whole segments leave, once their last message is old enough: up to a day late, and not a week
            "segment.ms": str(_DAY_MS),
            "retention.ms": str(-1 if self.retention_hours is None else self.retention_hours * 3_600_000),
            "max.message.bytes": str(self.max_message_bytes),
        }
        if not self.compacted:
            return {"cleanup.policy": "delete", **common}
        lags = {"min.compaction.lag.ms": str(_COMPACT_AFTER_MS), "max.compaction.lag.ms": str(_COMPACT_BEFORE_MS)}
        return {"cleanup.policy": "compact", **common, **lags}


@cache
def all_topics() -> dict[str, Topic]:
    """Every topic by name, from its card."""
    cards = (yaml.safe_load(path.read_text()) for path in sorted(CARDS_DIR.glob("*.yaml")))
    return {topic.name: topic for topic in map(_topic, cards)}


def _topic(card: dict[str, Any]) -> Topic:
    lists = {name: tuple(value) for name, value in card.items() if isinstance(value, list)}
    return Topic(**{**card, **lists})
