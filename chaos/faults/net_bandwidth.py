"""Shell: ``net.bandwidth``: a narrow line."""

from typing import Annotated

import msgspec

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.links import Direction, OnLink
from regrow.chaos.link_fault import Throttle


class NetBandwidth(OnLink, frozen=True, kw_only=True, tag="net.bandwidth"):
    """Each connection of a link passes at most ``rate_bytes`` a second."""

    rate_bytes: Annotated[int, msgspec.Meta(ge=1)]
    way: Direction = "both"

    def strike(self, blow: Blow) -> str:
        """Also to what is connected already."""
        return f"{self.put(blow, Throttle(self.rate_bytes), self.way)}: {self.rate_bytes} bytes a second"
