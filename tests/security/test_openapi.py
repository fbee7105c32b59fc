"""The whole OpenAPI document, fuzzed: every answer is one that the document tells of, and none is a bug of ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.millrace import Millrace
from tests.security.tenants import filled

pytestmark = pytest.mark.stack
FUZZ = str(Path(sys.executable).with_name("schemathesis"))
LONGER = os.environ.get("MILLRACE_FUZZ_SECONDS", "")  # beyond the suite's share, with another seed each time
SHORT = "40"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


@pytest.mark.slow
def test_every_answer_is_as_documented(millrace: Millrace, tmp_path: Path) -> None:
    workspace = filled(millrace, "fuzz")  # of its own: little of it is left afterwards
    command = [
        *(FUZZ, "run", f"http://127.0.0.1:{millrace.ports['API']}/openapi.json"),
        *("--header", f"Authorization: Bearer {workspace.token}"),
        *("--exclude-path", "/api/cdp/events/stream"),  # it never ends; test_tenancy follows it
        *("--checks", ",".join(CHECKS)),
        *("--max-time", LONGER or SHORT),
        *([] if LONGER else ["--generation-deterministic"]),
        *("--continue-on-failure", "--no-color", "--warnings", "off", "--request-timeout", "30"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=float(LONGER or SHORT) + 120)
    assert "operations" in done.stdout.lower(), done.stdout + done.stderr
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
