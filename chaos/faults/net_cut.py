"""Shell: ``net.cut``: a partition, in both directions."""

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.links import OnLink
from regrow.chaos.link_fault import Cut


class NetCut(OnLink, frozen=True, kw_only=True, tag="net.cut"):
    """Nothing passes a link, and nobody is told; what was sent arrives when it is undone.

    ``half``: only of every second one who connects.
    """

    half: bool = False

    def strike(self, blow: Blow) -> str:
        """Both directions."""
        return self.put(blow, Cut(), to_half=self.half)
