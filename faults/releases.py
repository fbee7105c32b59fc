"""A git revision -> its tree in a folder, whose code processes can be started with; and which one is the previous."""

import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VARIABLE = "MILLRACE_PREVIOUS"  # the revision to mix with, set by --previous
_BACK = 40  # commits: without a tag, about what one landing brings


class NoRelease(Exception):
    """There is no such revision here; the sentence says what git answered."""


def previous() -> str:
    """The revision that was asked for; else the newest tag, else the one that lies some forty commits back."""
    if asked := os.environ.get(VARIABLE):
        return asked
    try:
        return _git("describe", "--tags", "--abbrev=0", "HEAD^").decode().strip()
    except NoRelease:
        return f"HEAD~{_BACK}"


@contextmanager
def tree_of(revision: str) -> Iterator[Path]:
    """Its files, as long as the block runs. Raises NoRelease, for example in a shallow clone."""
    packed = _git("archive", "--format=tar", revision, "libs", "services")
    with tempfile.TemporaryDirectory(prefix="millrace-release-") as folder:
        with tarfile.open(fileobj=BytesIO(packed)) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # since 3.11.4
            archive.extractall(folder)
        yield Path(folder)


def named(revision: str) -> str:
    """What it is called in git log."""
    return _git("log", "-1", "--format=%h %s", revision).decode().strip()


def _git(*arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=False)
    except OSError as error:
        raise NoRelease(f"git: {error.strerror}") from error
    if done.returncode:
        raise NoRelease(done.stderr.decode(errors="replace").strip().splitlines()[0])
    return done.stdout
