"""A folder and a size -> a file system of its own there, which can be filled to the last byte and emptied again."""

import os
import subprocess
from pathlib import Path

_PIECE = 4 * 1024 * 1024


class CannotMount(Exception):
    """Nobody here may mount a file system; the sentence says what was answered."""


class Volume:
    """Memory as a disk (tmpfs), mounted at ``folder`` until it is closed. Raises CannotMount."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        folder.mkdir(parents=True, exist_ok=True)
        self._run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "millrace-faults", str(folder))

    @property
    def free(self) -> int:
        """Bytes that are left."""
        state = os.statvfs(self.folder)
        return state.f_bavail * state.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Takes all but so many bytes of what is free."""
        with self._ballast.open("ab") as ballast:
            while (left := self.free - leave) > 0:
                try:
                    os.posix_fallocate(ballast.fileno(), ballast.seek(0, os.SEEK_END), min(_PIECE, left))
                except OSError:  # somebody else was quicker
                    return

    def free_all(self) -> None:
        """Gives back what :meth:`fill` took."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Lazily: a process that was just killed may still hold a file open."""
        self._run("umount", "--lazy", str(self.folder))

    def _run(self, *argv: str) -> None:
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
        except OSError as error:
            raise CannotMount(f"{argv[0]}: {error.strerror}") from error
        if done.returncode:
            raise CannotMount((done.stderr or done.stdout).strip().splitlines()[-1])
