"""Core: all registered workers: who has room, at whom work waits, and who is where in a tree.

Theory of operation. Whoever asks for a seat may change it. So those that were asked for are looked at again before the next
question about all (``_look``), and a question costs what has changed, not how many workers there are. Going through all seats
counts as asking for all. What is known of all:

- ``_free``: seats with free slots, least loaded first; of equally loaded ones the one served longest ago;
- ``_crowded``: seats at which tasks wait for a slot;
- ``_at``: who is at a place of a tree.

A claim takes BATCH_TASKS tasks at most, and free slots first. So where as many are free nothing goes ahead, and no more workers
are offered than that.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from regrow.actors.claims import Share
from regrow.actors.placement import Seat
from regrow.actors.task import Digest, WorkerId
from regrow.actors.wire import BATCH_TASKS, Hello

Place = tuple[str, str]  # tree, path


class Rank(NamedTuple):
    """A seat's place in the order of claims."""

    load: float  # tasks per slot
    turn: int
    worker: WorkerId


class Room(NamedTuple):
    """What a seat had free when it was last looked at."""

    rank: Rank
    free: int


@dataclass(slots=True)
class Seats:
    """All registered workers, in the order in which they were last served."""

    by_worker: dict[WorkerId, Seat] = field(default_factory=dict)
    _at: dict[Place, WorkerId] = field(default_factory=dict)
    _touched: dict[WorkerId, None] = field(default_factory=dict)
    _rooms: dict[WorkerId, Room] = field(default_factory=dict)
    _free: list[Rank] = field(default_factory=list)  # of ``_rooms``, sorted
    _crowded: dict[WorkerId, Seat] = field(default_factory=dict)
    _idle_slots: int = 0
    _turns: int = 0

    def __iter__(self) -> Iterator[Seat]:
        self._touched.update(dict.fromkeys(self.by_worker))
        return iter(self.by_worker.values())

    def unchanged(self) -> Iterable[Seat]:
        """All of them, for those who only look."""
        return self.by_worker.values()

    def get(self, worker: WorkerId) -> Seat | None:
        """The seat of this worker."""
        self._touched[worker] = None
        return self.by_worker.get(worker)

    def add(self, seat: Seat) -> None:
        """A worker has come."""
        self.by_worker[seat.hello.worker] = seat
        self._at[place_of(seat)] = seat.hello.worker
        self.served(seat.hello.worker)

    def introduce(self, seat: Seat, hello: Hello) -> None:
        """One that is here says Hello again."""
        self._touched[hello.worker] = None
        self._at.pop(place_of(seat), None)
        seat.hello = hello
        self._at[place_of(seat)] = hello.worker

    def remove(self, worker: WorkerId) -> Seat:
        """This worker has gone."""
        self._touched[worker] = None
        seat = self.by_worker.pop(worker)
        if self._at.get(place_of(seat)) == worker:
            del self._at[place_of(seat)]
        return seat

    def at(self, tree: str, path: str) -> WorkerId | None:
        """Who was the last to come from this place."""
        return self._at.get((tree, path))

    def served(self, worker: WorkerId) -> None:
        """This worker was given tasks: among equals it comes last now."""
        self._touched[worker] = None
        self._turns += 1
        seat = self.by_worker[worker] = self.by_worker.pop(worker)
        seat.turn = self._turns

    def shares(self, short_s: dict[Digest, float]) -> list[Share]:
        """Room for a claim, least loaded worker first; the store deals tasks out in turn.  Empty: nothing would fit."""
        self._look()
        if short_s and self._idle_slots < BATCH_TASKS:
            return self._shares_ahead(min(short_s.values()))
        return [Share(rank.worker, self._rooms[rank.worker].free, 0.0) for rank in self._free[:BATCH_TASKS]]

    def idle_slots(self) -> int:
        """Slots that wait for work."""
        self._look()
        return self._idle_slots

    def crowded(self) -> list[Seat]:
        """At which tasks wait for a slot, the one served longest ago first."""
        self._look()
        return sorted(self._crowded.values(), key=lambda seat: seat.turn)

    def check(self) -> None:
        """The invariants, for tests: what is known of all is what going through all finds."""
        self._look()
        seats = self.by_worker.values()
        assert self._idle_slots == sum(seat.free() for seat in seats), "free slots"
        assert self._free == sorted(rank_of(seat) for seat in seats if seat.free()), "the order of claims"
        assert self._crowded.keys() == {seat.hello.worker for seat in seats if seat.unstarted()}, "where tasks wait"
        assert self._at.items() <= {(place_of(seat), seat.hello.worker) for seat in seats}, "who is where"

    def _shares_ahead(self, shortest_s: float) -> list[Share]:
        shares = []
        for seat in sorted(self.by_worker.values(), key=rank_of):
            free, ahead_s = seat.free(), seat.ahead_s(shortest_s)
            if free or ahead_s >= shortest_s > 0.0:
                shares.append(Share(seat.hello.worker, free, ahead_s))
        return shares

    def _look(self) -> None:
        """Take in what may have changed since the last question."""
        for worker in self._touched:
            seat = self.by_worker.get(worker)
            free = seat.free() if seat is not None else 0
            room = Room(rank_of(seat), free) if seat is not None and free else None
            if room != self._rooms.get(worker):
                self._replace(worker, room)
            if seat is not None and seat.unstarted():
                self._crowded[worker] = seat
            else:
                self._crowded.pop(worker, None)
        self._touched.clear()

    def _replace(self, worker: WorkerId, room: Room | None) -> None:
        former = self._rooms.pop(worker, None)
        if former is not None:
            del self._free[bisect_left(self._free, former.rank)]
            self._idle_slots -= former.free
        if room is not None:
            self._rooms[worker] = room
            insort(self._free, room.rank)
            self._idle_slots += room.free


def rank_of(seat: Seat) -> Rank:
    """Its place in the order of claims."""
    return Rank(len(seat.leases) / seat.hello.slots, seat.turn, seat.hello.worker)


def place_of(seat: Seat) -> Place:
    """Where it is in its tree; all that are in none are at the same."""
    return seat.hello.tree, seat.hello.path
