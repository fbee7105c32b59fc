"""Modules stop at 400 lines and functions at 50; whoever needs more has two things in one."""

import ast
from pathlib import Path

import pytest

from .repository import MODULES, relative

MODULE_LINES = 400
FUNCTION_LINES = 50
PARAMETERS = 5


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_stays_within_its_size(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MODULE_LINES


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_functions_stay_within_their_size(path: Path) -> None:
    too_long = {f.name: (f.end_lineno or 0) - f.lineno + 1 for f in functions(path)}
    assert {name: lines for name, lines in too_long.items() if lines > FUNCTION_LINES} == {}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_begins_with_what_flows_in_and_out(path: Path) -> None:
    text = path.read_text()
    docstring = ast.get_docstring(ast.parse(text)) if text.strip() else "empty"
    assert docstring, f"{relative(path)} needs a one-line docstring on top"


def test_service_packages_have_empty_init_files() -> None:
    filled = [relative(path) for path in MODULES if path.name == "__init__.py" and path.read_text().strip()]
    assert filled == []
