"""Shell: ``net.delay``: a long line."""

from regrow.chaos.faults.base import Blow, SecondsOrNone
from regrow.chaos.faults.links import Direction, OnLink
from regrow.chaos.link_fault import Delay


class NetDelay(OnLink, frozen=True, kw_only=True, tag="net.delay"):
    """Everything on a link arrives ``delay_s`` later, plus or minus at most ``jitter_s``; the order is kept."""

    delay_s: SecondsOrNone
    jitter_s: SecondsOrNone = 0.0
    way: Direction = "both"

    def __post_init__(self) -> None:
        Delay(self.delay_s, self.jitter_s)  # which says what is wrong with them

    def strike(self, blow: Blow) -> str:
        """Also to what is connected already."""
        return (
            f"{self.put(blow, Delay(self.delay_s, self.jitter_s), self.way)}: {self.delay_s:g} +/- {self.jitter_s:g} s"
        )
