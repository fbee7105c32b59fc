"""The settings classes of all services -> one table of variables, values and meanings."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Final

from cdp_runtime.settings import ServiceSettings, holds_secret

# the local stack reads these, and has no class of settings
LOCAL_STACK: Final = frozenset(
    {"CDP_CACHE_DIR", *(f"CDP_{part}_PORT" for part in ("KAFKA", "POSTGRES", "CLICKHOUSE", "REDIS"))}
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable."""

    variable: str
    default: str
    meaning: str
    owner: str


def all_settings() -> list[Setting]:
    """The variables of every installed service, those of all processes first."""
    found: dict[str, Setting] = {}
    for owner, settings_class in _classes():
        for name, field in settings_class.model_fields.items():
            variable = f"CDP_{name.upper()}"
            default = "" if field.is_required() else _text(field.get_default(call_default_factory=True))
            found.setdefault(variable, Setting(variable, default, field.description or "", owner))
    return list(found.values())


def settings_table(environment: Mapping[str, str], *, diff: bool = False, markdown: bool = False) -> str:
    """The table as text: with ``diff`` only what the environment changes, with ``markdown`` as in the docs."""
    settings = [s for s in all_settings() if not diff or environment.get(s.variable, s.default) != s.default]
    if markdown:
        rows = "".join(f"| `{s.variable}` | `{s.default}` | {s.owner} | {s.meaning} |\n" for s in settings)
        return f"| variable | default | read by | meaning |\n|---|---|---|---|\n{rows}"
    width = max((len(s.variable) for s in settings), default=0)
    return "".join(f"{s.variable:<{width}}  {_shown(s, environment)}  # {s.meaning}\n" for s in settings)


def read_by_nobody(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none: misspelled, or of another release."""
    known = {setting.variable for setting in all_settings()} | LOCAL_STACK
    return sorted(name for name in environment if name.startswith("CDP_") and name not in known)


def _shown(setting: Setting, environment: Mapping[str, str]) -> str:
    value = environment.get(setting.variable)
    if value is None or value == setting.default:
        return setting.default
    shown = "********" if holds_secret(setting.variable) else value
    return f"{shown} (default {setting.default or 'none'})"


def _classes() -> list[tuple[str, type[ServiceSettings]]]:
    classes: list[tuple[str, type[ServiceSettings]]] = [("every process", ServiceSettings)]
    for package, readers in sorted(_packages().items()):
        if find_spec(f"{package}.settings") is None:
            continue
        module: Any = import_module(f"{package}.settings")
        for value in vars(module).values():
            is_ours = isinstance(value, type) and issubclass(value, ServiceSettings) and value is not ServiceSettings
            if is_ours and value.__module__ == module.__name__:
                classes.append((", ".join(readers), value))
    return classes


def _packages() -> dict[str, list[str]]:
    """Package with a service.py -> the processes that run it; a package with a router is also in the front door."""
    found: dict[str, list[str]] = {}
    for group in ("cdp.services", "cdp.api"):
        for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
            readers = found.setdefault(entry.module.rpartition(".")[0], [])
            name = entry.name if group == "cdp.services" else "analytics-api"
            if name not in readers:
                readers.append(name)
    return found


def _text(value: Any) -> str:
    return "" if value is None else str(value)
