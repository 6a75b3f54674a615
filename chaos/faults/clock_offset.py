"""Shell: ``clock.offset``: the wall clock is wrong.  Intervals are measured otherwise, and due times are the store's."""

from typing import Annotated

import msgspec

from regrow.chaos.faults.base import LONGEST_S, Blow
from regrow.chaos.faults.hooked import Hooked
from regrow.runtime.errors import ConfigError

YEAR_S = 366 * LONGEST_S


class ClockOffset(Hooked, frozen=True, kw_only=True, tag="clock.offset"):
    """Wall time is ``offset_s`` late or early, for every process of a tree of our own."""

    offset_s: Annotated[float, msgspec.Meta(ge=-10 * YEAR_S, le=10 * YEAR_S)]

    def __post_init__(self) -> None:
        if not self.offset_s:
            raise ConfigError("clock.offset: an offset of 0 s changes nothing; use -3600 or 3600, say")

    def files(self) -> dict[str, str]:
        """Read at every look at the clock."""
        return {"clock": str(self.offset_s)}

    def strike(self, blow: Blow) -> str:
        """From the next look on."""
        self.put_files(blow)
        return f"wall time is {self.offset_s:+g} s"
