"""Shell: ``net.one_way``: one side is heard, and hears nothing."""

from typing import Literal

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.links import OnLink
from regrow.chaos.link_fault import Cut


class NetOneWay(OnLink, frozen=True, kw_only=True, tag="net.one_way"):
    """A link is cut in the direction ``way`` only: out (from who has connected) or back.

    ``half``: only of every second one who connects.
    """

    way: Literal["out", "back"] = "back"
    half: bool = False

    def strike(self, blow: Blow) -> str:
        """The other one goes on."""
        return self.put(blow, Cut(), self.way, to_half=self.half)
