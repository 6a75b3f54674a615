"""Shell: faults to whole messages between workers and dispatcher, the one link that speaks ZeroMQ."""

from regrow.chaos.faults.base import Blow, Chance
from regrow.chaos.faults.links import Direction, OnLink
from regrow.chaos.link_fault import FrameFault
from regrow.chaos.scene import Link
from regrow.runtime.errors import ConfigError


class OnFrames(OnLink, frozen=True, kw_only=True):
    """The base of those: each message meets it with this ``chance``, in the direction ``way``."""

    link: Link = Link.WORKER_DISPATCHER
    chance: Chance = 0.1
    way: Direction = "both"

    def __post_init__(self) -> None:
        if self.link is not Link.WORKER_DISPATCHER:
            raise ConfigError(
                f"faults to messages are done on {Link.WORKER_DISPATCHER} only, not on {self.link}: leave out the link"
            )

    def on_messages(self, blow: Blow, fault: FrameFault) -> str:
        """Have the proxy do it until it is undone."""
        return f"{self.put(blow, fault, self.way)}: {self.chance:g} of the messages"
