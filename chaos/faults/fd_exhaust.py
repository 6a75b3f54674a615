"""Shell: ``fd.exhaust``: a process that can open nothing more: no file, no socket, no pipe."""

import resource
from itertools import count
from pathlib import Path
from typing import Annotated

import msgspec

from regrow.chaos.faults.base import Blow, Fault
from regrow.chaos.limits import Limited, limit, limit_of
from regrow.chaos.lineage import NoVictim
from regrow.chaos.scene import Need
from regrow.chaos.undo import Undo


class FdExhaust(Fault, frozen=True, tag="fd.exhaust"):
    """A process may have ``spare`` more descriptors than it has now (RLIMIT_NOFILE)."""

    needs = frozenset({Need.VICTIM})
    spare: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0

    def prepare(self, blow: Blow) -> tuple[Undo, ...]:
        """The limit that it has now."""
        return (limit_of(Limited(blow.victim.pid, blow.victim.started_at), resource.RLIMIT_NOFILE),)

    def strike(self, blow: Blow) -> str:
        """The limit is a number that no new descriptor may reach, and a new one is always the lowest that is free."""
        victim = blow.victim
        lowest = lowest_free(victim.pid)
        limit(Limited(victim.pid, victim.started_at), resource.RLIMIT_NOFILE, lowest + self.spare)
        return f"pid {victim.pid} may have {self.spare} more descriptors"


def lowest_free(pid: int) -> int:
    """The number that its next descriptor would have.  Raises NoVictim."""
    try:
        taken = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    except (FileNotFoundError, ProcessLookupError):
        raise NoVictim(f"process {pid} is gone") from None
    return next(number for number in count() if number not in taken)
