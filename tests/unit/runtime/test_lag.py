"""The gauge of lag has the partitions that a process owns: one that moved away left its last value for ever."""

from prometheus_client import generate_latest

from cdp_runtime.lag import show_lag


def shown(group: str) -> dict[str, float]:
    lines = generate_latest().decode().splitlines()
    mine = (line for line in lines if line.startswith("cdp_consumer_lag_records{") and f'group="{group}"' in line)
    return {line.split('partition="')[1].split('"')[0]: float(line.split()[-1]) for line in mine}


def test_a_partition_that_another_process_took_over_is_shown_no_more() -> None:
    show_lag("one", {("topic", 0): 5, ("topic", 1): 12})
    show_lag("other", {("topic", 1): 3})
    show_lag("one", {("topic", 0): 4})
    assert (shown("one"), shown("other")) == ({"0": 4}, {"1": 3})
    show_lag("one", {("topic", 0): 4, ("topic", 1): 0})
    assert shown("one") == {"0": 4, "1": 0}
