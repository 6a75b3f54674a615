"""Shell: faults that a proxy does to everything that passes it."""

from functools import partial
from typing import Final, Literal

from regrow.chaos.faults.base import Blow, Fault
from regrow.chaos.link_fault import LinkFault, Way
from regrow.chaos.proxy import Proxy
from regrow.chaos.scene import Link, Need
from regrow.chaos.undo import HealLink, Undo

WAYS: Final = {"out": Way.OUT, "back": Way.BACK, "both": Way.BOTH}
Direction = Literal["out", "back", "both"]  # out: from who has connected


class OnLink(Fault, frozen=True, kw_only=True):
    """The base of those. ``link``: client-gateway, gateway-store, dispatcher-store or worker-dispatcher."""

    needs = frozenset({Need.LINK})
    link: Link

    def prepare(self, blow: Blow) -> tuple[Undo, ...]:
        """The proxy heals it here; if this process ends, the proxy does too."""
        blow.scene.proxy(self.link)
        return (HealLink(self.link),)

    def put(self, blow: Blow, fault: LinkFault, way: Direction = "both", *, to_half: bool = False) -> str:
        """Have the proxy do it until it is undone."""
        proxy: Proxy = blow.scene.proxy(self.link)
        blow.heal.append(partial(proxy.heal_one, fault))
        proxy.apply(fault, WAYS[way], to_half=to_half)
        return f"{self.link}, {way}" + (", every second one" if to_half else "")
