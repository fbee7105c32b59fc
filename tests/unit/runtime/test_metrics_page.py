"""The page of metrics shows each one under the name that queries use."""

from prometheus_client import generate_latest

from cdp_runtime.metrics_page import all_metrics, metrics_table


def test_every_declared_metric_has_a_row_with_its_meaning() -> None:
    rows = metrics_table().splitlines()[2:]
    assert len(rows) == len(all_metrics()) > 0
    assert all(row.count(" | ") == 3 and not row.endswith("|  |") for row in rows)


def test_names_are_those_of_the_exposition() -> None:
    exposed = {line.split()[2] for line in generate_latest().decode().splitlines() if line.startswith("# TYPE cdp_")}
    named = {row.split("`")[1] for row in metrics_table().splitlines()[2:]}
    assert named <= exposed


def test_labels_are_listed() -> None:
    row = next(row for row in metrics_table().splitlines() if "`cdp_consumer_lag_records`" in row)
    assert row.startswith("| `cdp_consumer_lag_records` | gauge | `group`, `topic`, `partition` | Records")
