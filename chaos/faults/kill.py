"""Shell: ``kill``: the process is gone at once.  There is nothing to undo: bringing it back is its supervisor's work."""

import signal

from regrow.chaos.faults.signals import SignalFault


class Kill(SignalFault, frozen=True, tag="kill"):
    """SIGKILL to one process."""

    number = signal.SIGKILL
