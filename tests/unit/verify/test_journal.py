"""A journal says afterwards exactly what the client knew, also when the client was killed."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cdp_verify.buckets import bucket_of, split
from cdp_verify.journal import Answer, BadJournal, Journal, JournalWriter, Run
from cdp_verify.shop import Mix, Shop, Shops

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
RUN = Run("t", 1, ["north"])


def written(path: Path, *answers: list[int]) -> Journal:
    """One event per batch; each batch got these statuses, one after another."""
    with JournalWriter(path, RUN) as writer:
        for number, statuses in enumerate(answers):
            batch = writer.sent("north", [{"messageId": f"t-{number}", "type": "track"}])
            for status in statuses:
                writer.answered(batch, status)
    return Journal(path)


@pytest.mark.parametrize(
    ("statuses", "answer"),
    [
        ([200], Answer.ACCEPTED),
        ([0, 503, 200], Answer.ACCEPTED),
        ([200, 503], Answer.ACCEPTED),
        ([400], Answer.REFUSED),
        ([429], Answer.UNKNOWN),
        ([], Answer.UNKNOWN),
        ([0, 400], Answer.UNKNOWN),  # the first try may have arrived before the source was disabled
    ],
)
def test_the_best_answer_counts(tmp_path: Path, statuses: list[int], answer: Answer) -> None:
    journal = written(tmp_path / "j", statuses)
    assert [(entry.answer, entry.tries) for entry in journal.entries()] == [(answer, len(statuses))]
    assert journal.count(answer) == journal.events == 1


def test_each_try_tells_when_it_was_sent(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "j", RUN) as writer:
        batch = writer.sent("north", [{"messageId": "t-0", "type": "track"}])
        for sent_at in (NOW, None, NOW + timedelta(seconds=2)):
            writer.answered(batch, 503, sent_at)
    began = int(NOW.timestamp() * 1000)
    assert [entry.sent_at for entry in Journal(tmp_path / "j").entries()] == [(began, began + 2000)]


def test_a_line_that_a_kill_cut_off_was_never_sent(tmp_path: Path) -> None:
    written(tmp_path / "j", [200], [200])
    whole = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(whole[: whole.rindex(b'{"line":"sent"') + 30])
    assert [entry.message_id for entry in Journal(tmp_path / "j").entries()] == ["t-0"]


def test_two_threads_write_one_journal(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "j", RUN) as writer:

        def send(name: str) -> None:
            for number in range(150):
                event = {"messageId": f"t-{name}-{number}", "filler": name * 20_000}
                writer.answered(writer.sent("north", [event]), 200 if name == "a" else 400)

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(send, "ab"))
    answers = {entry.message_id: entry.answer for entry in Journal(tmp_path / "j").entries()}
    assert len(answers) == 300
    assert all((answer is Answer.ACCEPTED) == key.startswith("t-a-") for key, answer in answers.items())


def test_what_is_no_journal_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "j").write_text('{"line":"answer","batch":1,"status":200}\n')
    with pytest.raises(BadJournal, match="line 1"):
        Journal(tmp_path / "j")
    written(tmp_path / "j", [200])
    with (tmp_path / "j").open("ab") as file:
        file.write(b"nonsense\n")
    with pytest.raises(BadJournal, match="line 4"):
        Journal(tmp_path / "j")


def test_the_same_seed_gives_the_same_data_set(tmp_path: Path) -> None:
    hashes = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        shops = Shops("t", seed, ["north", "south"], Mix(people=50))
        with JournalWriter(tmp_path / name, RUN) as writer:
            for _ in range(20):
                batch = shops.batch(datetime.now(UTC))
                writer.sent(batch.workspace_id, batch.events, batch.faulty)
            hashes.append(writer.dataset)
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_shop_has_everything_that_a_real_one_has() -> None:
    batch = Shop("t", "north", 3, Mix(people=100, late=0.02, faulty=0.01)).batch(4000, NOW)
    calls = {event["type"] for event in batch.events}
    names = {event.get("event") for event in batch.events}
    currencies = {event["properties"].get("currency") for event in batch.events if "properties" in event}
    assert {"track", "identify", "alias"} <= calls
    assert {"Order Completed", "Order Updated", "Order Refunded", "Order Cancelled"} <= names
    assert {"USD", "EUR", "JPY", "KWD"} <= currencies
    assert 10 < len(batch.faulty) < 100
    assert any(event["timestamp"] < "2026-11-19" for event in batch.events), "some are late"
    assert len({event["messageId"] for event in batch.events}) == 4000


def test_each_value_is_in_the_bucket_of_its_key_once() -> None:
    keys = [f"key-{number}" for number in range(200)]
    parts = [list(part) for part in split(((key, key) for key in keys), 7, str)]
    assert sorted(key for part in parts for key in part) == sorted(keys)
    assert all(bucket_of(key, 7) == number for number, part in enumerate(parts) for key in part)
