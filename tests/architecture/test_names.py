"""Things are named by what they are: no drawers, no second words for a profile."""

import re
from pathlib import Path

import pytest

from .repository import MODULES, PACKAGES, ROOT, relative

DRAWERS = {"utils", "util", "common", "misc", "helpers", "helper", "base", "core", "shared", "types"}
EMPTY_CLASS_NAMES = re.compile(r"^class \w*(Manager|Helper|Util|Utils)\b", re.MULTILINE)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_module_is_a_drawer(path: Path) -> None:
    package = next(package for package in PACKAGES if path.is_relative_to(package))
    names = set(path.relative_to(package).with_suffix("").parts)
    assert names & DRAWERS == set()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_class_is_named_after_nothing(path: Path) -> None:
    assert EMPTY_CLASS_NAMES.findall(path.read_text()) == []


def test_every_service_and_lib_has_its_readme() -> None:
    missing = [relative(p.parent) for p in PACKAGES if "services" in p.parts and not (p.parent / "README.md").exists()]
    assert missing == []
    long = [relative(path) for path in ROOT.glob("services/*/README.md") if len(path.read_text().splitlines()) > 60]
    assert long == []


def test_the_repository_names_no_machine_and_no_registry() -> None:
    patterns = re.compile(r"/(root|home|work|Users)/\w+|pypi\.org|registry\.npmjs|repo1?\.maven\.|files\.pythonhosted")
    suffixes = {".py", ".toml", ".yaml", ".yml", ".md", ".json", ".lock", ".xml", ".sql", ".html", ".sh", ""}
    skipped = {".git", ".venv", ".cdp", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".hypothesis"}
    found = [
        relative(path)
        for path in ROOT.rglob("*")
        if not skipped & set(path.relative_to(ROOT).parts)
        and path.is_file()
        and path.suffix in suffixes
        and path.name not in {"test_names.py", "uv.lock"}
        and patterns.search(path.read_text(errors="ignore"))
    ]
    assert found == []
