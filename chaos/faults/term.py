"""Shell: ``term``: the process is asked to end, and drains."""

import signal

from regrow.chaos.faults.signals import SignalFault


class Term(SignalFault, frozen=True, tag="term"):
    """SIGTERM to one process."""

    number = signal.SIGTERM
