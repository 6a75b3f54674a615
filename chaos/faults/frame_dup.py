"""Shell: ``frame.dup``: a message of the worker-dispatcher link comes twice."""

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.frames import OnFrames
from regrow.chaos.link_fault import Duplicate


class FrameDup(OnFrames, frozen=True, kw_only=True, tag="frame.dup"):
    """Each message between workers and dispatcher comes twice, with this ``chance``."""

    def strike(self, blow: Blow) -> str:
        """From the next message on."""
        return self.on_messages(blow, Duplicate(self.chance))
