"""Core: which deaths of slots a worker puts on record: a storm of them must not drive everything else out of it."""

from dataclasses import dataclass
from typing import Final

from regrow.actors.events import Event
from regrow.runtime.tree import Happening

PER_S: Final = 5  # deaths told in any second of a worker's clock; the others are counted


@dataclass(slots=True)
class Obituaries:
    """Of one worker's slots."""

    worker: str  # its path
    _second: int = 0
    _told: int = 0  # in this second
    _untold: int = 0  # since the last that was told

    def of(self, slot: int, life: int, pid: int, reason: str, now: float, at: float) -> list[Happening]:
        """What to put on record of a death, if anything.  ``now``: monotonic seconds, ``at``: Unix seconds."""
        if int(now) != self._second:
            self._second, self._told = int(now), 0
        if self._told >= PER_S:
            self._untold += 1
            return []
        untold, self._untold = self._untold, 0
        self._told += 1
        more = f" ({untold} deaths before it are not on record)" if untold else ""
        return [Happening(at, Event.SLOT_DOWN, f"{self.worker}/slot-{slot}", life, pid, f"{reason}{more}")]
