"""Shell: limits of resources that other processes have: what they are, and lowering them for a while."""

import resource

import msgspec

from regrow.chaos.lineage import NoVictim, held
from regrow.chaos.undo import Unlimit


class Limited(msgspec.Struct, frozen=True):
    """One process, once."""

    pid: int
    started_at: int


def limit_of(process: Limited, what: int) -> Unlimit:
    """What brings back the limit that it has now. ``what``: a number of setrlimit(2).  Raises NoVictim."""
    with held(process.pid, process.started_at):
        soft, hard = _prlimit(process.pid, what)
    return Unlimit(process.pid, process.started_at, what, soft, hard)


def limit(process: Limited, what: int, most: int) -> None:
    """Lower its soft limit.  Raises NoVictim."""
    with held(process.pid, process.started_at):
        _, hard = _prlimit(process.pid, what)
        _prlimit(process.pid, what, (most, hard))


def _prlimit(pid: int, what: int, limits: tuple[int, int] | None = None) -> tuple[int, int]:
    try:
        return resource.prlimit(pid, what) if limits is None else resource.prlimit(pid, what, limits)
    except ProcessLookupError:
        raise NoVictim(f"process {pid} is gone") from None
