"""Shell: ``store.pause``: the store keeps its connections and answers late."""

from typing import Annotated, Final, Literal

import msgspec

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.stores import OnStore
from regrow.chaos.store_door import StoreDoor
from regrow.chaos.undo import StoreUnpause, Undo

LONGEST_S: Final = 60.0


class StorePause(OnStore, frozen=True, tag="store.pause"):
    """CLIENT PAUSE: the store answers no ``writes``, or nothing at ``all``, for at most ``longest_s``."""

    what: Literal["writes", "all"] = "writes"
    longest_s: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_S)] = 10.0

    def prepare(self, blow: Blow) -> tuple[Undo, ...]:
        """CLIENT UNPAUSE; a pause of all is over soon after our connection, and that is what this waits for."""
        return (StoreUnpause(self.server(blow).url, self.longest_s if self.what == "all" else 0.0),)

    def strike(self, blow: Blow) -> str:
        """From the next command on."""
        door = StoreDoor(self.server(blow).url)
        blow.heal.append(door.close)
        if self.what == "all":
            door.pause_all(self.longest_s)
        else:
            door.pause_writes(self.longest_s)
        return f"{self.what} paused, for {self.longest_s:g} s at most"
