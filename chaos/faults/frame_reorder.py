"""Shell: ``frame.reorder``: a message of the worker-dispatcher link comes after the next one."""

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.frames import OnFrames
from regrow.chaos.link_fault import Reorder


class FrameReorder(OnFrames, frozen=True, kw_only=True, tag="frame.reorder"):
    """Each message between workers and dispatcher comes after the next one, with this ``chance``."""

    def strike(self, blow: Blow) -> str:
        """From the next message on."""
        return self.on_messages(blow, Reorder(self.chance))
