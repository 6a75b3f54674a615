"""Shell: faults that are one signal to one process."""

import signal
from typing import ClassVar

from regrow.chaos.faults.base import Blow, Fault
from regrow.chaos.lineage import send
from regrow.chaos.scene import Need


class SignalFault(Fault, frozen=True):
    """The base of those."""

    needs = frozenset({Need.VICTIM})
    number: ClassVar[signal.Signals]

    def strike(self, blow: Blow) -> str:
        """To that very process, through its pidfd."""
        send(blow.victim.pid, blow.victim.started_at, self.number)
        return f"{self.number.name} to pid {blow.victim.pid}"
