"""What a client sent and which answers it got -> a file of JSON lines, and back: the one witness beside the stores."""

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

import msgspec
from msgspec import Struct

from cdp_schemas.codec import encode
from cdp_verify.times import ticks


class Answer(Enum):
    """The best answer that a batch ever got: what was accepted once stays accepted."""

    UNKNOWN = "unknown"  # none, or 5xx: it may have arrived or not
    REFUSED = "refused"  # 4xx: it must not have arrived
    ACCEPTED = "accepted"  # 2xx: it must have arrived


class BadJournal(ValueError):
    """The file is no journal; the message names the line and what is wrong with it."""


class Run(Struct, rename="camel", tag_field="line", tag="run", frozen=True):
    """The first line: whose run this is. Every message id begins with ``prefix`` and a dash."""

    prefix: str
    seed: int
    workspaces: list[str]


class Sent(Struct, rename="camel", tag_field="line", tag="sent", frozen=True):
    """A batch that is about to be offered for the first time. ``faulty``: message ids of its malformed events."""

    batch: int
    workspace_id: str
    events: list[dict[str, Any]]
    faulty: list[str] = []


class Answered(Struct, rename="camel", tag_field="line", tag="answer", frozen=True, omit_defaults=True):
    """One try to send a batch, when it said it was sent, and what came back; status 0 is no answer at all."""

    batch: int
    status: int
    sent_at: datetime | None = None


class Entry(Struct, frozen=True):
    """One event as the client knows it. ``sent_at``: the ``sentAt`` of its tries, in ms since 1970."""

    workspace_id: str
    event: dict[str, Any]
    answer: Answer
    tries: int
    is_faulty: bool = False
    sent_at: tuple[int, ...] = ()

    @property
    def message_id(self) -> str:
        return str(self.event["messageId"])


_DECODER: Final = msgspec.json.Decoder(Run | Sent | Answered)


def meaning(status: int) -> Answer:
    """What a status promises. 408 and 429 ask for the same again, so they promise nothing."""
    if 200 <= status < 300:
        return Answer.ACCEPTED
    if 400 <= status < 500 and status not in (408, 429):
        return Answer.REFUSED
    return Answer.UNKNOWN


class JournalWriter:
    """Appends lines. A batch is on the disk before it is offered, so no answer can be to something unknown.

    Several threads may write at once: a load and what is sent beside it.
    Answers are flushed but not forced: one that a power cut takes leaves its batch ``unknown``, which weakens the
    comparison and never makes it wrong.
    """

    def __init__(self, path: Path, run: Run) -> None:
        self.run = run
        self._batches = 0
        self._file: IO[bytes] = path.open("wb")
        self._digest = hashlib.sha256()
        self._writing = threading.Lock()
        self._write(run, durable=True)

    def __enter__(self) -> "JournalWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def dataset(self) -> str:
        """The hash of everything sent, without times: the same seed gives the same."""
        return self._digest.hexdigest()

    def sent(self, workspace_id: str, events: Sequence[dict[str, Any]], faulty: Sequence[str] = ()) -> int:
        """Writes a new batch durably; returns its number."""
        with self._writing:
            self._batches += 1
            for event in events:
                kept = {name: event[name] for name in sorted(event.keys() - _TIMES)}
                self._digest.update(encode([workspace_id, kept]))
            self._write(Sent(self._batches, workspace_id, list(events), list(faulty)), durable=True)
            return self._batches

    def answered(self, batch: int, status: int, sent_at: datetime | None = None) -> None:
        """Writes what one try got; ``sent_at`` is the ``sentAt`` that it told, if any."""
        with self._writing:
            self._write(Answered(batch, status, sent_at), durable=False)

    def close(self) -> None:
        self._file.close()

    def _write(self, line: Struct, *, durable: bool) -> None:
        self._file.write(encode(line) + b"\n")
        self._file.flush()
        if durable:
            os.fsync(self._file.fileno())


_TIMES: Final = frozenset(("timestamp", "sentAt"))


class Journal:
    """A written journal, read again as often as needed; only sizes and answers of batches are in memory."""

    def __init__(self, path: Path) -> None:
        """Reads the file once. Raises BadJournal, OSError."""
        self._path = path
        self._answers: dict[int, Answer] = {}
        self._tries: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._sent_at: dict[int, tuple[int, ...]] = {}
        self.outages = 0
        lines = self._lines()
        first = next(lines, None)
        if not isinstance(first, Run):
            raise BadJournal(f"{path}, line 1: a journal begins with its run")
        self.run = first
        for line in lines:
            self._take(line)

    def entries(self) -> Iterator[Entry]:
        """Every event in the order it was first sent, with the best answer of its batch."""
        for line in self._lines():
            if isinstance(line, Sent):
                faulty = frozenset(line.faulty)
                answer, tries = self._answers.get(line.batch, Answer.UNKNOWN), self._tries.get(line.batch, 0)
                sent_at = self._sent_at.get(line.batch, ())
                for event in line.events:
                    yield Entry(line.workspace_id, event, answer, tries, event.get("messageId") in faulty, sent_at)

    def count(self, answer: Answer) -> int:
        """How many events have this answer."""
        return sum(size for batch, size in self._sizes.items() if self._answers.get(batch, Answer.UNKNOWN) is answer)

    @property
    def events(self) -> int:
        """How many events were offered at least once."""
        return sum(self._sizes.values())

    def _take(self, line: Struct) -> None:
        if isinstance(line, Sent):
            self._sizes[line.batch] = len(line.events)
        elif isinstance(line, Answered):
            said, before = meaning(line.status), self._answers.get(line.batch, Answer.UNKNOWN)
            self._tries[line.batch] = self._tries.get(line.batch, 0) + 1
            self.outages += said is Answer.UNKNOWN
            if line.sent_at is not None:
                self._sent_at[line.batch] = (*self._sent_at.get(line.batch, ()), ticks(line.sent_at))
            self._answers[line.batch] = _joined(before, said, self._tries[line.batch])

    def _lines(self) -> Iterator[Struct]:
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return  # the client was killed while it wrote: what it had not finished it had not sent
                try:
                    yield _DECODER.decode(line)
                except msgspec.MsgspecError as error:
                    raise BadJournal(f"{self._path}, line {number}: {error}") from error


def _joined(before: Answer, said: Answer, tries: int) -> Answer:
    """A refusal binds only when no try before it went unanswered: that one may have arrived."""
    if Answer.ACCEPTED in (before, said):
        return Answer.ACCEPTED
    if said is Answer.REFUSED:
        return Answer.REFUSED if tries == 1 or before is Answer.REFUSED else Answer.UNKNOWN
    return Answer.UNKNOWN
