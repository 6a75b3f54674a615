"""Shell: ``kill.group``: an actor with all that it has started in its process group, as a kernel out of memory might take them."""

import os
import signal
from typing import Final

from regrow.chaos.faults.base import Blow, Fault
from regrow.chaos.lineage import NoVictim, held
from regrow.chaos.scene import Need

PIDFD_SIGNAL_PROCESS_GROUP: Final = 4  # since Linux 6.9


class KillGroup(Fault, frozen=True, tag="kill.group"):
    """SIGKILL to one process and its process group."""

    needs = frozenset({Need.VICTIM})

    def strike(self, blow: Blow) -> str:
        """Every actor and every slot leads a group of its own; whoever does not is no victim."""
        victim = blow.victim
        with held(victim.pid, victim.started_at) as pidfd:
            if os.getpgid(victim.pid) != victim.pid:
                raise NoVictim(f"process {victim.pid} leads no process group")
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL, None, PIDFD_SIGNAL_PROCESS_GROUP)
            except OSError:  # an older kernel
                signal.pidfd_send_signal(
                    pidfd, signal.SIGSTOP
                )  # it does not end, and free its number, by itself meanwhile
                os.killpg(victim.pid, signal.SIGKILL)
        return f"SIGKILL to process group {victim.pid}"
