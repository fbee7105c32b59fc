"""The documents cannot rot: what they name of the program is compared with the code."""

import ast
import re
import shlex
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import typer
import yaml
from prometheus_client.metrics import MetricWrapperBase

from cdp_runtime import cli, metrics
from cdp_runtime.configuration import LOCAL_STACK, all_settings, settings_table
from cdp_runtime.run import service_names
from cdp_schemas.topics import all_topics

from .repository import ROOT

DOCS = ROOT / "docs"
OPERATIONS = (DOCS / "operations.md").read_text()
PAGES = [ROOT / "README.md", *DOCS.rglob("*.md"), *ROOT.glob("services/*/README.md"), *ROOT.glob("libs/*/README.md")]
# what Postgres counts as a connection beside the pools: a session for locks
LONE = {"segmenter": 1, "activation": 1}


def anchors(page: Path) -> set[str]:
    """What a link may name after its #: the headings as GitHub spells them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


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
    assert [name for name in all_topics() if f"`{name}`" not in OPERATIONS] == []


def test_links_in_the_documents_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
            to = page.parent / target if target else page
            if not to.exists() or (anchor and anchor not in anchors(to)):
                broken.append(f"{page.relative_to(ROOT)} -> {target}#{anchor}")
    assert broken == []


def test_every_variable_in_the_documents_is_read_by_somebody() -> None:
    read = {setting.variable for setting in all_settings()} | LOCAL_STACK
    for page in PAGES:
        named = set(re.findall(r"\bCDP_[A-Z_]*[A-Z](?![A-Z_*])", page.read_text()))
        groups = set(re.findall(r"\b(CDP_[A-Z_]+_)\*", page.read_text()))
        missing = named - read | {group for group in groups if not any(name.startswith(group) for name in read)}
        assert missing == set(), page


def commands() -> Iterator[tuple[str, list[str]]]:
    """Each `cdp ...` of the documents in words, with its page; what is left open (...) ends it."""
    for page in PAGES:
        for said in re.findall(r"(?:^|`|\(|bin/)cdp ([a-z][^`)#\n]*)", page.read_text(), re.MULTILINE):
            yield page.name, shlex.split(said.partition("...")[0])


def test_the_commands_in_the_documents_exist_with_their_options() -> None:
    for entry in entry_points(group="cdp.commands"):
        command = entry.load()
        if isinstance(command, typer.Typer):
            cli.app.add_typer(command, name=entry.name)
        else:
            cli.app.command(entry.name)(command)
    root, found = typer.main.get_command(cli.app), list(commands())
    assert len(found) > 50
    wrong = []
    for page, words in found:
        command = root
        for word in words:
            if word not in getattr(command, "commands", {}):
                break
            command = command.commands[word]  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        if command is root or {word for word in words if word.startswith("--")} - known:
            wrong.append(f"{page}: cdp {' '.join(words)}")
    assert wrong == []


def test_what_grows_is_told_of_every_table() -> None:
    growing = OPERATIONS.partition("## What grows")[2].partition("## Scaling")[0]
    migrations = "".join(path.read_text() for path in ROOT.glob("services/*/migrations/*/*") if path.is_file())
    tables = set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(?:\w+\.)?(\w+)", migrations))
    tables.remove("one_by_one")  # made only on the way back to an earlier release
    assert len(tables) > 30
    assert {name for name in tables if not re.search(rf"[`.]{name}`", growing)} == set()


@pytest.mark.parametrize("name", all_topics())
def test_topics_are_kept_for_as_long_as_the_page_says(name: str) -> None:
    (kept,) = re.findall(rf"^\| `{name}` \| ([^|]*) \|", OPERATIONS, re.MULTILINE)
    hours = all_topics()[name].retention_hours
    assert kept == ("for ever, compacted" if hours is None else f"{hours // 24} days")


def test_connections_to_postgres_are_told_as_they_are() -> None:
    """A pool's name says whose it is: a service's part of the front door has "api" in it."""
    made: dict[str, int] = {"front door": 0}
    for path in ROOT.glob("services/*/cdp_*/**/service.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and re.search(r"_(pool|statements)$", ast.unparse(call.func)):
                said = {str(word.arg): ast.unparse(word.value) for word in call.keywords}
                package = str(path.relative_to(ROOT / "services").parent).replace("/", "-")
                owner = "front door" if "api" in said["name"] else package
                made[owner] = made.get(owner, 0) + int(said.get("max_size", 8))
    told = re.sub(r"\s+", " ", OPERATIONS.partition("**Connections to Postgres**")[2])
    each = {owner.partition("-")[0] if "recording" not in owner else "recorder": n for owner, n in made.items()}
    each = {owner: size + LONE.get(owner, 0) for owner, size in each.items()}
    few, segmenter, activation, front = map(int, re.findall(r"(\d+) of ", told)[:4])
    assert each == {
        **dict.fromkeys(("ingest", "identity", "recorder"), few),
        "segmenter": segmenter,
        "activation": activation,
        "front door": front,
    }
    assert f": {sum(each.values())} with one of each" in told
    each |= {"resolver": each["identity"], "analytics-api": each["front door"]}
    manifests = "---\n".join(path.read_text() for path in (ROOT / "deploy/kubernetes").glob("*.yaml"))
    deployments = [one for one in yaml.safe_load_all(manifests) if one and one["kind"] == "Deployment"]
    deployed = sum(each[one["metadata"]["name"]] * one["spec"]["replicas"] for one in deployments)
    assert f"{deployed} as `deploy/kubernetes` has them" in told


def test_every_entry_point_loads() -> None:
    for group in ("cdp.services", "cdp.api", "cdp.commands", "cdp.seeds", "cdp.demo", "cdp.local_processes"):
        for entry in entry_points(group=group):
            assert callable(entry.load()) or entry.load() is not None
