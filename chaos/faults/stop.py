"""Shell: ``stop``: the process is silent but not dead, until it is let go on."""

import signal

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.signals import SignalFault
from regrow.chaos.undo import Continue, Undo


class Stop(SignalFault, frozen=True, tag="stop"):
    """SIGSTOP to one process; what it has started runs on."""

    number = signal.SIGSTOP

    def prepare(self, blow: Blow) -> tuple[Undo, ...]:
        """SIGCONT."""
        return (Continue(blow.victim.pid, blow.victim.started_at),)
