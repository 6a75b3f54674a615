"""Shell: ``int``: what Ctrl-C sends, to one process alone."""

import signal

from regrow.chaos.faults.signals import SignalFault


class Interrupt(SignalFault, frozen=True, tag="int"):
    """SIGINT to one process."""

    number = signal.SIGINT
