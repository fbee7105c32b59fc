"""A load says what it sent and was told, or that it cannot."""

import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdp_runtime.commands import CommandRefused
from cdp_verify.commands import app
from cdp_verify.journal import Answer, Journal, JournalWriter, Run
from cdp_verify.load import Client, Habits
from cdp_verify.shop import Mix, Shops

RUN = Run("t", 1, ["north"])
NOWHERE = "http://127.0.0.1:1"


class Full(JournalWriter):
    """Its disk is full for its third batch, and has room again."""

    def sent(self, *given, **more):
        number = super().sent(*given, **more)
        if number == 3:
            raise OSError(28, "No space left on device")
        return number


def client(journal: JournalWriter) -> Client:
    return Client(NOWHERE, {"north": "key"}, Shops("t", 1, RUN.workspaces, Mix(5)), journal, Habits(patience_s=0.2))


async def test_a_call_that_could_not_be_written_down_ends_the_load(tmp_path: Path) -> None:
    """It would go on with a part of its calls in the journal, and be told that all is well."""
    end = time.monotonic() + 5
    with Full(tmp_path / "j", RUN) as journal, pytest.raises(OSError, match="No space left"):
        await client(journal).run(500, lambda: time.monotonic() > end)
    assert time.monotonic() < end


async def test_what_nobody_answered_is_unknown(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "j", RUN) as journal:
        end = time.monotonic() + 0.5
        said = await client(journal).run(200, lambda: time.monotonic() > end)
    assert said.events == Journal(tmp_path / "j").count(Answer.UNKNOWN) > 0
    assert said.failures > 0


def test_a_journal_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["load", "--journal", str(tmp_path / "nowhere" / "j"), "--gateway", NOWHERE])
    assert isinstance(done.exception, CommandRefused)
    assert "cannot be written: No such file or directory" in str(done.exception)
