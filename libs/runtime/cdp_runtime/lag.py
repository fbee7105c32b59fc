"""How far behind a group's consumer is -> the gauge of lag, of the partitions that it has now and of no others."""

from collections.abc import Mapping
from typing import Final, TypeVar

from cdp_runtime.metrics import CONSUMER_LAG

P = TypeVar("P", bound=tuple[str, int])
_shown: Final[dict[str, set[tuple[str, int]]]] = {}


def show_lag(group: str, lag: Mapping[P, int]) -> None:
    """Records behind, by topic and partition. A partition that another process took over is told by that one."""
    for topic, number in _shown.get(group, set()) - lag.keys():
        CONSUMER_LAG.remove(group, topic, str(number))
    for (topic, number), records in lag.items():
        CONSUMER_LAG.labels(group, topic, str(number)).set(records)
    _shown[group] = set(lag)
