"""Shell: processes told apart for certain: by pid and start time, held by a pidfd, and by who has started whom."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from regrow.runtime.errors import RegrowError


class NoVictim(RegrowError):
    """There is nobody to do it to."""

    code = "no_victim"


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot (field 22 of proc(5) stat).  Raises NoVictim if it is gone."""
    return int(_stat(pid)[19])


def is_stopped(pid: int) -> bool:
    """Was it stopped by a signal?  Raises NoVictim if it is gone."""
    return _stat(pid)[0] in "Tt"


def lives(pid: int, started_at: int) -> bool:
    """Is that very process there, and no zombie?"""
    try:
        fields = _stat(pid)
    except NoVictim:
        return False
    return int(fields[19]) == started_at and fields[0] != "Z"


def is_below(pid: int, ancestor: int) -> bool:
    """Is ``pid`` that process, or started by it or by anybody below it?"""
    while pid not in (ancestor, 0, 1):
        try:
            pid = int(_stat(pid)[1])
        except NoVictim:
            return False
    return pid == ancestor


@contextmanager
def held(pid: int, started_at: int) -> Iterator[int]:
    """A pidfd of that very process.  Raises NoVictim when it has ended, whoever has its number now."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        raise NoVictim(f"process {pid} is gone") from None
    try:
        if start_time(pid) != started_at:
            raise NoVictim(f"process {pid} is another one than it was")
        yield pidfd
    finally:
        os.close(pidfd)


def send(pid: int, started_at: int, number: signal.Signals) -> None:
    """A signal to that very process.  Raises NoVictim when it has ended."""
    with held(pid, started_at) as pidfd:
        try:
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            raise NoVictim(f"process {pid} is gone") from None


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise NoVictim(f"process {pid} is gone") from None
