"""Shell: where a running tree can be reached, as a small JSON file in its data directory, and the directory's lock."""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from regrow.runtime.errors import ConfigError

FILE = "endpoints.json"
LOCK = "lock"


def default_data_dir() -> Path:
    """``$XDG_STATE_HOME/regrow``, or ``~/.local/state/regrow``."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "regrow"


def publish(data_dir: Path, endpoints: Mapping[str, str]) -> None:
    """Write the endpoints in use; a reader sees the old file or the new one, never a part."""
    draft = data_dir / f"{FILE}.new"
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(dict(endpoints))) + b"\n")
    draft.replace(data_dir / FILE)


def withdraw(data_dir: Path) -> None:
    """The tree is no longer there."""
    (data_dir / FILE).unlink(missing_ok=True)


def find(data_dir: Path) -> dict[str, str]:
    """The endpoints of the tree that runs on ``data_dir``.  Raises ConfigError if none does.

    A tree that was killed leaves its file behind, but not its lock.
    """
    try:
        content = (data_dir / FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        content = None
    if content is None or not is_locked(data_dir):
        raise ConfigError(
            f"nothing runs on data directory {data_dir}: start it with 'regrow up', or name another with --data-dir or --url"
        )
    try:
        return msgspec.json.decode(content, type=dict[str, str])
    except msgspec.DecodeError as error:
        raise ConfigError(f"{data_dir / FILE} is damaged ({error}): delete it and start again") from None


def is_locked(data_dir: Path) -> bool:
    """Does a living tree hold ``data_dir``?  The lock is shared for a moment to learn it, so a file must hint at one first."""
    try:
        fd = os.open(data_dir / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


class DataDirLock:
    """One tree per data directory.  The kernel drops the lock with its process, so a killed tree leaves none behind."""

    def __init__(self, data_dir: Path) -> None:
        """Take the lock.  Raises ConfigError if another process has it, or the directory cannot be used."""
        try:
            data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"data directory {data_dir}: {error.strerror}; name another with --data-dir") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip()
            os.close(self._fd)
            raise ConfigError(
                f"data directory {data_dir} is in use by process {holder or 'unknown'}: stop that one, or name another with --data-dir"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
