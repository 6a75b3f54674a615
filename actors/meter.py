"""Shell: what processes use, read from /proc. Whoever ends meanwhile counts as far as it was seen.

A parent is read before its children: a child that is waited for in between is counted once or not at all, never twice.
"""

import os
from contextlib import suppress
from typing import Final

from regrow.actors.judge import Usage

TICKS: Final = os.sysconf("SC_CLK_TCK")  # per second
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
STATE, TIMES = 0, slice(11, 15)  # fields of /proc/PID/stat from the state on: utime, stime, cutime, cstime


def usage(pid: int) -> Usage:
    """Of a process and all below it."""
    own_s, own_bytes, _ = _of(pid)
    cpu_s, memory_bytes, alive = own_s, own_bytes, 0
    for below in descendants(pid):
        its_s, its_bytes, is_alive = _of(below)
        cpu_s, memory_bytes, alive = cpu_s + its_s, memory_bytes + its_bytes, alive + is_alive
    return Usage(cpu_s, memory_bytes, alive, own_s, own_bytes)


def descendants(pid: int) -> list[int]:
    """All below it, parents before their children."""
    found = [pid]
    for parent in found:
        found += _children(parent)
    return found[1:]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 (a look takes half as long)
            found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return found


def _of(pid: int) -> tuple[float, int, bool]:
    """CPU seconds, anonymous resident bytes, and whether it is alive."""
    with suppress(OSError):
        fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        pages = _read(f"/proc/{pid}/statm").split()
        return (
            sum(map(int, fields[TIMES])) / TICKS,
            max(0, int(pages[1]) - int(pages[2])) * PAGE_BYTES,
            fields[STATE] not in b"ZX",
        )
    return 0.0, 0, False


def _read(path: str) -> bytes:
    """A small file of the kernel's, whole."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = chunk = os.read(descriptor, 65536)
        while len(chunk) == 65536:
            data += (chunk := os.read(descriptor, 65536))
        return data
    finally:
        os.close(descriptor)
