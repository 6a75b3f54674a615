"""Shell: the limits of one call that its own process can hold: soft resource limits round the call, and a look at its end.

Everything else is seen by the worker (``judge``). RLIMIT_DATA and not RLIMIT_AS: address space is refused long before it is
memory. RLIMIT_CPU counts whole seconds over a process's life, RLIMIT_NPROC a user's processes and not root's: of no use here.
Soft limits only: hard ones could not be raised again for the next task.
"""

import errno
import os
import resource
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from regrow.actors import verdicts
from regrow.actors.limits import NO_LIMITS, Limits
from regrow.actors.task import Failure

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
DATA_PAGES: Final = 5  # field of /proc/self/statm
BY_ERRNO: Final = {errno.EMFILE: "open_files", errno.EFBIG: "file_bytes"}


class Bounds:
    """In force from ``__enter__`` to ``__exit__``."""

    def __init__(self, limits: Limits | None) -> None:
        self.limits = limits or NO_LIMITS
        self._before: list[tuple[int, int]] = []  # soft limits that were lowered
        self._cpu_before_s = _cpu_s() if self.limits.cpu_s is not None else 0.0

    def __enter__(self) -> Self:
        may = self.limits
        if may is NO_LIMITS:
            return self
        if may.memory_bytes is not None:
            _forget_peak()
            self._lower(resource.RLIMIT_DATA, _data_bytes() + may.memory_bytes)
        if may.open_files is not None:
            self._lower(resource.RLIMIT_NOFILE, len(os.listdir("/proc/self/fd")) - 1 + may.open_files)  # noqa: PTH208
        if may.file_bytes is not None:
            self._lower(resource.RLIMIT_FSIZE, may.file_bytes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._before:
            limit, soft = self._before.pop()
            _, hard = resource.getrlimit(limit)
            resource.setrlimit(limit, (_least(soft, hard), hard))

    def _lower(self, limit: int, amount: int) -> None:
        soft, hard = resource.getrlimit(limit)
        self._before.append((limit, soft))
        resource.setrlimit(limit, (_least(amount, soft), hard))

    def meaning(self, error: BaseException | None) -> Failure | None:
        """What an exception says, if it is one of these limits that speaks."""
        may, number = self.limits, error.errno if isinstance(error, OSError) else None
        if may.memory_bytes is not None and (isinstance(error, MemoryError) or number == errno.ENOMEM):
            return verdicts.out_of_memory(may.memory_bytes, _peak_bytes())
        name = BY_ERRNO.get(number or 0)
        limit = getattr(may, name) if name else None
        return verdicts.exceeded(name, limit) if name and limit is not None else None

    def overrun(self, ran_s: float) -> Failure | None:
        """What the call has used too much of, by its end, and with all that it started."""
        may = self.limits
        if may.wall_s is not None and ran_s > may.wall_s:
            return verdicts.ran_too_long(may.wall_s)
        if may.cpu_s is not None and (used_s := _cpu_s() - self._cpu_before_s) > may.cpu_s:
            return verdicts.exceeded("cpu_s", may.cpu_s, used_s)
        return None


def _least(first: int, second: int) -> int:
    """The lower of two amounts as ``resource`` has them."""
    amounts = [amount for amount in (first, second) if amount != resource.RLIM_INFINITY]
    return min(amounts, default=resource.RLIM_INFINITY)


def _cpu_s() -> float:
    """CPU time of this process and of its children that have ended and were waited for."""
    return sum(os.times()[:4])


def _data_bytes() -> int:
    """What counts against RLIMIT_DATA."""
    descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(descriptor, 256).split()[DATA_PAGES]) * PAGE_BYTES
    finally:
        os.close(descriptor)


def _forget_peak() -> None:
    with suppress(OSError):
        descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"5")
        finally:
            os.close(descriptor)


def _peak_bytes() -> int:
    """The most memory that this process had since ``_forget_peak``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


UNLIMITED: Final = Bounds(None)  # holds nothing, and can be used again and again
