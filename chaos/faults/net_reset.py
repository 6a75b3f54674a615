"""Shell: ``net.reset``: connections break, and none can be made."""

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.links import OnLink
from regrow.chaos.link_fault import Reset


class NetReset(OnLink, frozen=True, kw_only=True, tag="net.reset"):
    """Every connection of a link is reset, and so is each new one."""

    def strike(self, blow: Blow) -> str:
        """With what is on its way."""
        return self.put(blow, Reset())
