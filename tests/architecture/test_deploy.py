"""What deploys the program agrees with the program: processes, settings, metrics, files and decisions."""

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from prometheus_client import generate_latest

from cdp_devstack.programs import AT_THE_DOOR
from cdp_runtime import metrics
from cdp_runtime.configuration import all_settings
from cdp_runtime.metrics_page import metrics_table
from cdp_runtime.run import service_names
from cdp_runtime.settings import holds_secret

from .repository import ROOT

DEPLOY = ROOT / "deploy"
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
RULES = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "millrace.json"
# what every Python process shows about itself, and what Prometheus adds
FROM_ELSEWHERE = {"up", *(f"process_{name}" for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds"))}
FROM_ELSEWHERE |= {"process_start_time_seconds"}

# what ClickHouse's own configuration turns on, but for crash_log
SYSTEM_LOGS = (
    *("query_log", "query_thread_log", "query_views_log", "query_metric_log", "trace_log", "part_log", "text_log"),
    *("metric_log", "latency_log", "error_log", "asynchronous_metric_log", "opentelemetry_span_log"),
    *("processors_profile_log", "asynchronous_insert_log", "backup_log", "s3queue_log", "blob_storage_log"),
)


@cache
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def settings() -> set[str]:
    return {setting.variable for setting in all_settings()}


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def kind(name: str) -> list[dict[str, Any]]:
    return [document for path in MANIFESTS for document in documents(path) if document["kind"] == name]


def exposed_names() -> set[str]:
    """Every series that a process may show: a histogram's are its _bucket, _sum and _count."""
    assert metrics.READY is not None
    names = set(FROM_ELSEWHERE)
    for line in generate_latest().decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, type_ = line.split()
            names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if type_ == "histogram" else {name}
    return names


def asked_names(query: str) -> set[str]:
    """The metrics of a query: words outside of braces and quotes that are no label, function or keyword."""
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", query)
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', " ", bare)
    words = re.findall(r"[a-zA-Z_:][\w:]*(?!\w*\s*\()", bare)
    return {word for word in words if "_" in word or word == "up"}


def queries() -> list[tuple[str, str]]:
    rules = [
        (rule.get("alert") or rule["record"], rule["expr"])
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
    ]
    panels = [
        (panel["title"], target["expr"])
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel.get("targets", ())
    ]
    return rules + panels


def recorded() -> set[str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


# ---- compose


@pytest.mark.parametrize("name", service_names())
def test_every_process_is_a_service_of_compose(name: str) -> None:
    service = compose()["services"][name]
    assert service["command"] == ["run", name]
    assert service["healthcheck"]["test"][-1].count("9100/readyz") == 1
    assert service["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}


def test_compose_migrates_after_the_stores_are_healthy() -> None:
    migrate = compose()["services"]["migrate"]
    assert migrate["depends_on"] == {
        name: {"condition": "service_healthy"} for name in ("kafka", "postgres", "clickhouse")
    }
    script = migrate["command"][0]
    assert script.index("cdp migrate") < script.index("cdp topics create") < script.index("cdp seed")


def test_compose_lets_those_wait_for_busy_processors_that_nobody_waits_for() -> None:
    behind = {name for name, service in compose()["services"].items() if "cpu_shares" in service}
    assert behind == {"clickhouse", *service_names()} - set(AT_THE_DOOR)


def test_all_processes_of_compose_share_one_image_that_is_built_here() -> None:
    ours = [compose()["services"][name] for name in [*service_names(), "migrate", "platforms"]]
    assert {service["image"] for service in ours} == {compose()["x-process"]["image"]}
    assert {service["pull_policy"] for service in ours} == {"never"}
    assert [service["build"]["dockerfile"] for service in ours if "build" in service] == ["deploy/Dockerfile"]


def test_logs_of_containers_are_bounded() -> None:
    unbounded = [
        name for name, service in compose()["services"].items() if "max-size" not in str(service.get("logging"))
    ]
    assert unbounded == []


def test_what_clickhouse_writes_of_itself_expires_or_is_off() -> None:
    """Of the tables that the server's own configuration turns on."""
    logs = {node.tag: node for node in ElementTree.parse(ROOT / "deploy/clickhouse/millrace.xml").getroot()}
    for name in SYSTEM_LOGS:
        node = logs[name]
        assert node.get("remove") == "1" or "DELETE" in (node.findtext("ttl") or ""), name


def test_clickhouse_refuses_inserts_before_its_disk_is_full() -> None:
    disks = ElementTree.parse(ROOT / "deploy/clickhouse/millrace.xml").findall("storage_configuration/disks/*")
    # the server does not start with a path for this one: <path> names it
    assert [(disk.tag, [node.tag for node in disk]) for disk in disks] == [("default", ["keep_free_space_bytes"])]
    assert int(disks[0].findtext("keep_free_space_bytes") or 0) >= 2**30


def test_compose_names_volumes_and_files_that_exist() -> None:
    for service in compose()["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in compose()["volumes"], volume


def test_images_are_pinned_and_name_no_registry() -> None:
    ours = compose()["x-process"]["image"]
    foreign = [service["image"] for service in compose()["services"].values() if service["image"] != ours]
    assert len(foreign) == 6
    for image in foreign:
        name, _, tag = image.partition(":")
        assert tag and tag != "latest", image
        assert "." not in name.split("/")[0], image


def test_nothing_of_compose_listens_to_the_network() -> None:
    ports = [port for service in compose()["services"].values() for port in service.get("ports", ())]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


# ---- settings


def deployed_variables() -> dict[str, set[str]]:
    found = {"docker-compose.yml": set[str]()}
    for service in compose()["services"].values():
        found["docker-compose.yml"] |= {name for name in service.get("environment", {}) if name.startswith("CDP_")}
    for path in [DEPLOY / "Dockerfile", *MANIFESTS]:
        found[path.name] = set(re.findall(r"\bCDP_[A-Z_]+", path.read_text()))
    return {name: variables for name, variables in found.items() if variables}


@pytest.mark.parametrize("where", deployed_variables())
def test_every_variable_that_is_set_is_a_setting(where: str) -> None:
    assert deployed_variables()[where] - settings() == set()


# ---- the image


def test_the_image_installs_against_the_lock_and_leaves_the_local_stack_out() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert "--constraint requirements.lock" in dockerfile
    assert "rm -rf libs/devstack" in dockerfile
    assert re.search(r"^USER \d+$", dockerfile, re.MULTILINE)
    assert 'ENTRYPOINT ["cdp"]' in dockerfile


def test_what_the_image_copies_is_sent_to_the_builder() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    copied = {name for line in re.findall(r"^COPY (?!--)(.*)$", dockerfile, re.MULTILINE) for name in line.split()[:-1]}
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied == {line.removeprefix("!") for line in ignore if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_uses_the_same_installer_as_the_makefile() -> None:
    version = re.findall(r"uv==([\d.]+)", (ROOT / "Makefile").read_text())
    assert version and set(version) == set(re.findall(r"uv==([\d.]+)", (DEPLOY / "Dockerfile").read_text()))


# ---- Kubernetes


def test_the_kustomization_lists_every_manifest() -> None:
    (kustomization,) = documents(DEPLOY / "kubernetes" / "kustomization.yaml")
    assert set(kustomization["resources"]) == {path.name for path in MANIFESTS} - {"kustomization.yaml"}


@pytest.mark.parametrize("name", service_names())
def test_every_process_has_a_deployment_with_its_probes(name: str) -> None:
    (deployment,) = [each for each in kind("Deployment") if each["metadata"]["name"] == name]
    pod = deployment["spec"]["template"]
    assert deployment["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    (container,) = pod["spec"]["containers"]
    assert container["args"] == ["run", name]
    # the front door stays reachable to say which store is missing
    ready = (
        {"path": "/api/cdp/health", "port": "http"} if name == "analytics-api" else {"path": "/readyz", "port": "admin"}
    )
    assert container["readinessProbe"]["httpGet"] == ready
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "admin"}
    assert {"name": "admin", "containerPort": 9100} in container["ports"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > 40
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_no_deployment_runs_what_does_not_exist() -> None:
    assert {each["metadata"]["name"] for each in kind("Deployment")} == set(service_names())


def test_the_gateway_keeps_one_pod_during_maintenance() -> None:
    (budget,) = kind("PodDisruptionBudget")
    (gateway,) = [each for each in kind("Deployment") if each["metadata"]["name"] == "ingest"]
    assert budget["spec"]["selector"] == gateway["spec"]["selector"]
    assert gateway["spec"]["replicas"] > budget["spec"]["minAvailable"]


def test_no_secret_is_in_the_manifests() -> None:
    assert kind("Secret") == []
    (settings_map,) = kind("ConfigMap")
    assert not any(map(holds_secret, settings_map["data"]))


# ---- Prometheus and Grafana


def test_prometheus_scrapes_every_process_and_reads_the_rules() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert config["rule_files"] == [RULES.name]
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "millrace"]
    assert set(job["dns_sd_configs"][0]["names"]) == set(service_names())


@pytest.mark.parametrize(("where", "query"), queries(), ids=lambda value: value if len(value) < 40 else "")
def test_every_metric_that_is_asked_for_exists(where: str, query: str) -> None:
    assert asked_names(query), f"{where} asks for nothing"
    assert asked_names(query) - exposed_names() - recorded() == set()


def test_the_check_of_queries_sees_a_misspelled_metric() -> None:
    query = 'sum by (le, stage) (rate(cdp_freshnes_seconds_bucket{stage="profile"}[5m])) > 3 and up == 1'
    assert asked_names(query) == {"cdp_freshnes_seconds_bucket", "up"}


def test_every_counter_of_an_alert_is_there_before_it_counts() -> None:
    """``increase`` does not count what a series is born with. Asked of a process in which nothing has counted yet."""
    show = "import cdp_runtime.metrics, prometheus_client as p; print(p.generate_latest().decode())"
    page = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True).stdout
    asked = set(re.findall(r"\bcdp_\w+_total\b(?:\{[^}]*\})?", RULES.read_text()))
    assert 'cdp_resolver_events_total{outcome="quarantined"}' in asked
    exposed = set(re.findall(r"^([^#\s]+) 0\.0$", page, re.MULTILINE))
    exposed |= {series.partition("{")[0] for series in exposed}
    assert asked - exposed == set()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool, a part of Prometheus, is not installed")
def test_the_rules_fire_when_they_should() -> None:
    told = subprocess.run(["promtool", "test", "rules", "alerts.test.yml"], cwd=RULES.parent, capture_output=True)
    assert told.returncode == 0, (told.stdout + told.stderr).decode()


def test_every_alert_says_what_to_do() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text()
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in (rule for rule in group["rules"] if "alert" in rule):
            assert rule["annotations"]["summary"].endswith("."), rule["alert"]
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert f"`{rule['alert']}`" in operations, f"docs/operations.md does not tell about {rule['alert']}"


def test_the_dashboard_is_provisioned_with_its_datasource() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "millrace.yml").read_text())["providers"]
    mounts = compose()["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in mounts
    panels = [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    assert len({panel["id"] for panel in panels}) == len(panels)


# ---- documents


def test_the_page_of_metrics_is_what_the_program_prints() -> None:
    """Mend with: cdp metrics, below the page's first lines."""
    assert metrics_table() in (ROOT / "docs" / "metrics.md").read_text()


def test_decisions_are_numbered_in_one_sequence() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name)
def test_a_decision_has_its_form_and_names_what_holds_it(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"^#+ (.*)$", text, re.MULTILINE)[1:] == ["Context", "Decision", "Consequences", "Enforced by"]
    assert text.startswith(f"# {path.name[:4]}. ")
    assert len(text.splitlines()) <= 60, "a decision is one page"
    named = re.findall(r"`([\w.-]+/[\w./-]*|[\w.-]+\.(?:lock|yml))`", text.partition("## Enforced by")[2])
    assert named and [name for name in named if not (ROOT / name).exists()] == []
