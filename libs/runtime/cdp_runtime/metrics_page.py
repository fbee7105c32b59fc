"""The metrics declared in cdp_runtime.metrics -> the table of docs/metrics.md."""

from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase

from cdp_runtime import metrics


def all_metrics() -> list[MetricWrapperBase]:
    """Every metric of every process, in the order of the module that declares them."""
    return [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]


def metrics_table() -> str:
    """One row a metric, under the name that queries use; a histogram's series add _bucket, _sum and _count."""
    rows = "".join(f"| `{_name(m)}` | {m._type} | {_labels(m)} | {m._documentation} |\n" for m in all_metrics())
    return f"| metric | type | labels | meaning |\n|---|---|---|---|\n{rows}"


def _name(metric: MetricWrapperBase) -> str:
    name = next(iter(metric.describe())).name
    return f"{name}_total" if isinstance(metric, Counter) else name


def _labels(metric: MetricWrapperBase) -> str:
    return ", ".join(f"`{label}`" for label in metric._labelnames) or "–"
