"""Shell: the private directory under which a worker's slots have theirs; it goes when the worker goes.

In a supervision tree it lies in the tree's run directory, which the root removes, and a restarted worker clears what its
former incarnation left. A worker on its own has one in the system's temporary directory and removes it at every end that
it sees. Of SIGKILL, and of a machine that stops, it sees nothing, and its slots die with it: so it holds a lock on its
directory, which the kernel releases at any end, and the next worker of the same user that starts on its own clears every
such directory that nobody holds. A lock tells the dead from the living for certain, which a pid that is used again does not.
"""

import fcntl
import os
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import Final

PREFIX: Final = "regrow-worker-"


class Nest:
    """``path`` exists from here to ``remove``."""

    def __init__(self, run_directory: Path | None, worker: str) -> None:
        """``run_directory``: the tree's, ``None`` for a worker on its own."""
        if run_directory is None:
            _clear_abandoned()
            self.path, self._lock = _locked_directory()
        else:
            self.path = run_directory / "slots" / worker
            clear(self.path)
            self.path.mkdir(mode=0o700, parents=True)
            self._lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        clear(self.path)
        os.close(self._lock)


def clear(folder: Path) -> None:
    """Remove a directory that user code has written into, whatever access rights it has set there."""
    rmtree(folder, ignore_errors=True)
    if folder.exists():
        for parent, _, _ in os.walk(_opened(folder)):
            for entry in os.scandir(parent):
                if entry.is_dir(follow_symlinks=False):
                    _opened(entry.path)
        rmtree(folder, ignore_errors=True)


def _opened(folder: str | Path) -> str | Path:
    """The same directory, in which its owner may now do everything."""
    os.chmod(folder, 0o700)  # noqa: PTH101 (a DirEntry's path is text)
    return folder


def _locked_directory() -> tuple[Path, int]:
    """A new directory and the descriptor that holds its lock. Another worker may clear it until it is locked: then the next."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            return path, lock
        os.close(lock)


def _clear_abandoned() -> None:
    """Remove directories of workers that were killed: nobody holds their locks."""
    for folder in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                clear(folder)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
