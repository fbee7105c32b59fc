"""A process that is not ready, lags, or holds too much is told of by the invariant it breaks."""

from contextlib import AbstractContextManager
from io import StringIO

import pytest
from rich.console import Console

from cdp_verify.checks.processes import check_processes
from cdp_verify.findings import blind, finding, not_checked
from cdp_verify.report import BLIND, BROKEN, show
from tests.answering import answering

AT_REST = (
    "# HELP cdp_consumer_lag_records Records behind the end of the log\n"
    'cdp_consumer_lag_records{group="recorder",topic="events-identified",partition="0"} 0.0\n'
    "process_resident_memory_bytes 1.5e+08\n"
)


def process(metrics: str, ready: tuple[int, str] = (200, "ok")) -> AbstractContextManager[str]:
    """An admin port that says this."""

    def answer(path: str) -> tuple[int, bytes]:
        status, body = ready if path == "/readyz" else (200, metrics)
        return status, body.encode()

    return answering(answer)


@pytest.mark.parametrize(
    ("metrics", "ready", "broken"),
    [
        (AT_REST, (200, "ok"), set()),
        (AT_REST.replace("} 0.0", "} 7.0"), (200, "ok"), {"I14"}),
        (AT_REST.replace("} 0.0", "} NaN"), (200, "ok"), {"I14"}),
        (AT_REST.replace("1.5e+08", "2.5e+09"), (200, "ok"), {"I13"}),
        (AT_REST, (503, "clickhouse: refused"), {"I16"}),
    ],
)
async def test_each_fault_of_a_process_is_seen(metrics: str, ready: tuple[int, str], broken: set[str]) -> None:
    with process(metrics, ready) as url:
        assert {one.invariant for one in await check_processes([url]) if one.count} == broken


@pytest.mark.parametrize(
    ("metrics", "unchecked"),
    [("process_resident_memory_bytes 1.5e+08\n", {"I14"}), (AT_REST.partition("process_")[0], {"I13"})],
)
async def test_what_no_process_tells_is_not_passed(metrics: str, unchecked: set[str]) -> None:
    with process(metrics) as url, process(AT_REST) as other:
        assert {one.invariant for one in await check_processes([url]) if not one.holds} == unchecked
        assert all(one.holds for one in await check_processes([url, other])), "the other one tells it"


async def test_a_process_that_does_not_answer_passes_nothing() -> None:
    with process(AT_REST) as url:
        pass
    assert all(one.count for one in await check_processes([url]))


def test_the_report_ends_with_one_only_for_violations() -> None:
    held, broken = finding("I1"), finding("I5")
    held.compared = "3 events"
    for number in range(30):
        broken.wrong(f"person [{number}] owes a cent")
    unchecked = not_checked("I12", "no erased text was given")
    page = StringIO()
    assert show([held, unchecked], Console(file=page, width=120)) == 0
    assert "1 of 2 invariants hold, none is broken. Not checked: I12." in page.getvalue()
    page = StringIO()
    assert show([held, broken, unchecked], Console(file=page, width=120)) == 1
    assert "person [0] owes a cent" in page.getvalue(), "brackets in data are no markup"
    assert "and 10 more" in page.getvalue() and "Broken: I5." in page.getvalue()


def test_what_was_asked_for_and_could_not_be_looked_at_does_not_end_as_if_it_held() -> None:
    held, broken, unseen = finding("I1"), finding("I5"), blind("I6", "ClickHouse does not answer")
    broken.wrong("a cent")
    assert show([held, unseen], Console(file=StringIO())) == BLIND
    assert show([held, broken, unseen], Console(file=StringIO())) == BROKEN


async def test_processes_that_tell_nothing_of_what_was_asked_are_no_reason_to_pass() -> None:
    with process("nothing 1\n") as url:
        assert {one.invariant for one in await check_processes([url]) if one.is_blind} == {"I13", "I14"}
    assert not any(one.is_blind for one in await check_processes([])), "nobody asked"
