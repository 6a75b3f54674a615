"""Shell: what the slots of one worker print, in its log: line by line, and summed up where it is too much."""

from typing import Final

from regrow.actors.events import Event
from regrow.actors.output import Dropped
from regrow.actors.slot_process import SlotProcess
from regrow.runtime.actor import Context
from regrow.runtime.logs import log

DROPPED_S: Final = 1.0  # what a slot's output loses is summed up for this long


class OutputLog:
    """Of ``slots`` slots, over all of their lives."""

    def __init__(self, context: Context, slots: int) -> None:
        self._context = context
        self._dropped = [Dropped() for _ in range(slots)]  # output that is not logged, since it was last told

    def write(self, number: int, process: SlotProcess) -> None:
        """Log what the slot has printed since."""
        for line in process.lines(self._context.now()):
            log.info(Event.SLOT_OUTPUT, slot=number, line=line)
        news, dropped = process.output.take_dropped(), self._dropped[number]
        if dropped == Dropped() != news:
            self._context.after(DROPPED_S, lambda: self._tell_dropped(number))
        dropped.add(news)

    def close(self) -> None:
        """Tell of what was to be summed up for longer."""
        for number, dropped in enumerate(self._dropped):
            if dropped != Dropped():
                self._tell_dropped(number)

    def _tell_dropped(self, number: int) -> None:
        """At most once in DROPPED_S per slot."""
        dropped, self._dropped[number] = self._dropped[number], Dropped()
        log.warning(Event.SLOT_OUTPUT_DROPPED, slot=number, lines=dropped.lines, size_bytes=dropped.size_bytes)
