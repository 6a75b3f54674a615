"""Shell: ``frame.drop``: a message of the worker-dispatcher link is lost."""

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.frames import OnFrames
from regrow.chaos.link_fault import Drop


class FrameDrop(OnFrames, frozen=True, kw_only=True, tag="frame.drop"):
    """Each message between workers and dispatcher is lost, with this ``chance``."""

    def strike(self, blow: Blow) -> str:
        """From the next message on."""
        return self.on_messages(blow, Drop(self.chance))
