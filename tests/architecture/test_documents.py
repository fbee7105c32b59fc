"""The documents cannot rot: settings, metrics, services and topics in them are compared with the code."""

import re
from importlib.metadata import entry_points

from prometheus_client.metrics import MetricWrapperBase

from cdp_runtime import metrics
from cdp_runtime.configuration import all_settings, settings_table
from cdp_runtime.run import service_names
from cdp_schemas.topics import all_topics

from .repository import ROOT

DOCS = ROOT / "docs"


def test_the_page_of_settings_is_what_the_program_prints() -> None:
    """Mend with: cdp config --markdown, below the page's first lines."""
    assert settings_table({}, markdown=True) in (DOCS / "settings.md").read_text()


def test_every_setting_says_what_it_means() -> None:
    assert [setting.variable for setting in all_settings() if not setting.meaning] == []


def test_every_metric_is_on_the_page_of_metrics() -> None:
    page = (DOCS / "metrics.md").read_text()
    names = {metric.describe()[0].name for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)}
    assert names and {name for name in names if f"`{name}" not in page} == set()


def test_every_metric_is_named_after_its_service() -> None:
    names = {metric._name for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)}
    assert {name for name in names if not name.startswith("cdp_")} == set()


def test_the_readme_lists_every_process_and_topic() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in service_names() if f"`{name}`" not in readme] == []
    operations = (DOCS / "operations.md").read_text()
    assert [name for name in all_topics() if f"`{name}`" not in operations] == []


def test_links_in_the_documents_lead_somewhere() -> None:
    broken = []
    for page in [ROOT / "README.md", *DOCS.rglob("*.md"), *ROOT.glob("services/*/README.md")]:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text()):
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)} -> {target}")
    assert broken == []


def test_every_entry_point_loads() -> None:
    for group in ("cdp.services", "cdp.api", "cdp.commands", "cdp.seeds", "cdp.demo", "cdp.local_processes"):
        for entry in entry_points(group=group):
            assert callable(entry.load()) or entry.load() is not None
