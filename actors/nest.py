"""Shell: the private directory under which a worker's slots have theirs; it goes when the worker goes.

In a supervision tree it lies in the tree's run directory, which the root removes, and a restarted worker clears what its
former incarnation left. A worker on its own has one in the system's temporary directory, locked while it lives, and
clears those whose locks are gone.
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
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        else:
            self.path = run_directory / "slots" / worker
            rmtree(self.path, ignore_errors=True)
            self.path.mkdir(mode=0o700, parents=True)
        self._lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


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
                rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
