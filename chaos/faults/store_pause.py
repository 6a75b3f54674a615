"""Shell: ``store.pause``: the store keeps its connections and answers late."""

from typing import Annotated, Final, Literal

import msgspec

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.stores import OnStore
from regrow.chaos.store_door import StoreDoor
from regrow.chaos.undo import StoreUnpause, Undo

LONGEST_S: Final = 60.0


class StorePause(OnStore, frozen=True, tag="store.pause"):
    """CLIENT PAUSE: the store answers no ``writes``, or nothing at ``all``, for at most ``longest_s``.

    A pause of all cannot be ended from outside: undoing it waits until the store ends it, so choose its length with ``longest``.
    """

    what: Literal["writes", "all"] = "writes"
    longest_s: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_S)] = 10.0

    def prepare(self, blow: Blow) -> tuple[Undo, ...]:
        """CLIENT UNPAUSE."""
        return (StoreUnpause(self.server(blow).url, self.longest_s if self.what == "all" else 0.0),)

    def strike(self, blow: Blow) -> str:
        """From the next command on."""
        with StoreDoor(self.server(blow).url) as door:
            door.pause(self.longest_s, is_all=self.what == "all")
        return f"{self.what} paused, for {self.longest_s:g} s at most"
