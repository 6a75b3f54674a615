"""Shell: ``stutter``: a process that runs in short turns only, as on a machine that has too much to do."""

import signal
from functools import partial

from regrow.chaos.faults.base import Blow, Fault, Seconds
from regrow.chaos.lineage import send
from regrow.chaos.rhythm import Rhythm
from regrow.chaos.scene import Need
from regrow.chaos.undo import Continue, Undo


class Stutter(Fault, frozen=True, tag="stutter"):
    """SIGSTOP for ``stop_s``, SIGCONT for ``run_s``, again and again."""

    needs = frozenset({Need.VICTIM})
    stop_s: Seconds = 0.05
    run_s: Seconds = 0.05

    def prepare(self, blow: Blow) -> tuple[Undo, ...]:
        """SIGCONT."""
        return (Continue(blow.victim.pid, blow.victim.started_at),)

    def strike(self, blow: Blow) -> str:
        """Until it is undone, or the victim has ended."""
        signalled = partial(send, blow.victim.pid, blow.victim.started_at)
        rhythm = Rhythm(lambda: signalled(signal.SIGSTOP), self.stop_s, lambda: signalled(signal.SIGCONT), self.run_s)
        blow.heal.append(rhythm.close)
        rhythm.start()
        return f"pid {blow.victim.pid} stopped {self.stop_s:g} s of every {self.stop_s + self.run_s:g} s"
