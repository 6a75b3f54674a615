"""Core: tasks that wait at a busy worker are called back while another worker has a free slot and the queue is empty."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from regrow.actors import wire
from regrow.actors.seats import Seats
from regrow.actors.task import WorkerId

RECALL_AGAIN_S: Final = 1.0  # a worker that was asked and gave nothing is not asked again before


@dataclass(slots=True)
class Recalls:
    """``send`` is its owner's.  Times are monotonic seconds."""

    seats: Seats
    send: Callable[[WorkerId, wire.ToWorker], None]

    def ask(self, now: float) -> None:
        """Call back what has waited too long, as much as there are slots for that the queue does not fill."""
        spare = self.seats.idle_slots()
        for seat in self.seats.crowded() if spare else ():
            due = seat.recall_due()
            if spare <= 0 or due is None or due > now:
                continue
            count = min(seat.unstarted(), spare)
            spare -= count
            seat.recall_not_before = now + RECALL_AGAIN_S
            self.send(seat.hello.worker, wire.Recall(count))

    def ask_all(self) -> None:
        """Call back everything that has not started."""
        for seat in self.seats.crowded():
            self.send(seat.hello.worker, wire.Recall(seat.unstarted()))

    def next_deadline(self) -> float | None:
        """When something will have waited too long beside a free slot."""
        if not self.seats.idle_slots():
            return None
        return min((due for seat in self.seats.crowded() if (due := seat.recall_due()) is not None), default=None)
