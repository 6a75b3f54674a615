"""Shell: ``frame.corrupt``: a message of the worker-dispatcher link has one bit flipped in its body."""

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.frames import OnFrames
from regrow.chaos.link_fault import Corrupt


class FrameCorrupt(OnFrames, frozen=True, kw_only=True, tag="frame.corrupt"):
    """Each message between workers and dispatcher has one bit flipped in its body, with this ``chance``."""

    def strike(self, blow: Blow) -> str:
        """From the next message on."""
        return self.on_messages(blow, Corrupt(self.chance))
