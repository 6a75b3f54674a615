"""Shell: ``net.flap``: a line that comes and goes."""

from functools import partial

from regrow.chaos.faults.base import Blow, Seconds
from regrow.chaos.faults.links import OnLink
from regrow.chaos.link_fault import Cut
from regrow.chaos.rhythm import Rhythm


class NetFlap(OnLink, frozen=True, kw_only=True, tag="net.flap"):
    """A link is cut for ``down_s`` and whole for ``up_s``, again and again."""

    down_s: Seconds = 1.0
    up_s: Seconds = 1.0

    def strike(self, blow: Blow) -> str:
        """Down first."""
        proxy = blow.scene.proxy(self.link)
        cut = Cut()
        rhythm = Rhythm(partial(proxy.apply, cut), self.down_s, partial(proxy.heal_one, cut), self.up_s)
        blow.heal.extend((partial(proxy.heal_one, cut), rhythm.close))  # the last one first
        rhythm.start()
        return f"{self.link}: down {self.down_s:g} s, up {self.up_s:g} s"
