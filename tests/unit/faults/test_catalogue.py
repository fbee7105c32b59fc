"""Every fault of the plan is run or has its reason, and the ledger adds up."""

from pathlib import Path

import pytest
from faults import ledger
from faults.catalogue import NOT_RUN, SCENARIOS
from faults.ledger import Line


def test_every_fault_is_run_or_has_a_reason() -> None:
    assert set(SCENARIOS) | set(NOT_RUN) == {f"F{number}" for number in range(1, 28)}
    assert set(SCENARIOS) & set(NOT_RUN) == set()


def test_the_ledger_grows_and_adds_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "LEDGER", tmp_path / "ledger.json")
    ledger.append(Line("F2", 1, 100, 3, 0, 0, 0, 0, 1.0))
    ledger.append(Line("F2", 2, 50, 1, 2, 0, 30, 1, 1.0))
    ledger.append(Line("storm", 4, 1, 300, 0, 0, 0, 0, 1.0))
    ledger.append(Line("F10", 3, 7, 0, 0, 0, 0, 0, 1.0))
    rows = ledger.sums(ledger.lines(), {"F2": "deaths"})
    assert rows[0] == ("F2 deaths", "2", "150", "4", "2", "0", "30", "1", "2", "2")
    assert [row[0] for row in rows] == ["F2 deaths", "F10", "storm", "all"]
    assert rows[-1][:4] == ("all", "4", "158", "304")
