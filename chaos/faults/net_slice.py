"""Shell: ``net.slice``: no message arrives in one piece."""

from typing import Annotated

import msgspec

from regrow.chaos.faults.base import Blow, SecondsOrNone
from regrow.chaos.faults.links import Direction, OnLink
from regrow.chaos.link_fault import Slice


class NetSlice(OnLink, frozen=True, kw_only=True, tag="net.slice"):
    """Everything on a link arrives in pieces of at most ``size_bytes``, with ``pause_s`` between them."""

    size_bytes: Annotated[int, msgspec.Meta(ge=1)] = 16
    pause_s: SecondsOrNone = 0.0
    way: Direction = "both"

    def strike(self, blow: Blow) -> str:
        """Also to what is connected already."""
        return f"{self.put(blow, Slice(self.size_bytes, self.pause_s), self.way)}: pieces of {self.size_bytes} bytes"
