"""Core: the lease table of a dispatcher.

Every task that the store has claimed for this dispatcher is in exactly one place (``where`` and ``check`` say which):

::

    claim ──▶ a seat's leases ──outcome, loss, given back──▶ ledger ──▶ the store
                   ▲  presented                                ▲
    former incarnation ──▶ orphans ──────deadline──────────────┘

- A *lease* is one task under one attempt at one worker, the one that the store knows it by.  It never moves to another
  worker: what is given back returns to the front of the queue and is claimed anew, under the next attempt.  So whoever
  reads the store, after whatever crash, knows the only worker that can have started it.
- *Orphans* are leases of a former incarnation of this dispatcher.  Their workers present and so keep them.  At the
  deadline, those whose worker came back without them never arrived there: GIVE_BACK, which counts nothing.  The rest may
  have been started by a worker that is gone too: LOSE_WORKER, so that a task with a single attempt is never started twice.
- Leases *inherited* from a silent dispatcher are LOSE_WORKER at once (which does not count there): their workers, if they
  live, speak to nobody here.  So is a lease that only the store knows after it was away: it has gone back in time.
- An outcome of a lease that is not in the table is settled all the same: the store refuses and counts it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from zlib import crc32

import msgspec

from regrow.actors import wire
from regrow.actors.ledger import Key, Ledger
from regrow.actors.limits import NO_LIMITS, Limits
from regrow.actors.placement import Durations, Lease, Seat
from regrow.actors.records import Held
from regrow.actors.seats import Seats
from regrow.actors.task import Claimed, Drop, Failure, FailureKind, Move, Outcome, Settlement, TaskId, WorkerId
from regrow.actors.wire import TaskToRun


@dataclass(slots=True)
class Leases:
    """Who holds what.  Fills ``ledger`` with endings and ``_outbox`` with tasks to send."""

    seats: Seats = field(default_factory=Seats)
    ledger: Ledger = field(default_factory=Ledger)
    durations: Durations = field(default_factory=Durations)
    caps: Limits = NO_LIMITS  # what no task may have more of
    orphans: dict[TaskId, Held] = field(default_factory=dict)
    _outbox: dict[WorkerId, list[TaskToRun]] = field(default_factory=dict)

    def place(self, tasks: Iterable[Claimed], now: float) -> None:
        """Hand claimed tasks to the workers they were claimed for; a worker that has closed meanwhile gets none."""
        served: dict[WorkerId, None] = {}  # in order: what follows is the same in every run
        for claimed in tasks:
            seat = self.seats.get(claimed.worker)
            if seat is None or not seat.is_open:
                self._owe(claimed, Move.GIVE_BACK)
            elif claimed.task_id not in seat.leases:
                self._hand(seat, claimed, now)
                served[claimed.worker] = None
        for worker in served:
            self.seats.served(worker)

    def reject(self, tasks: Iterable[Claimed]) -> None:
        """Hand nothing out: claimed tasks go back to the queue."""
        for claimed in tasks:
            self._owe(claimed, Move.GIVE_BACK)

    def outbox(self) -> Iterator[tuple[WorkerId, list[TaskToRun]]]:
        """What is to be sent now; empties it."""
        outbox, self._outbox = self._outbox, {}
        yield from outbox.items()

    def end(self, worker: WorkerId, outcome: Outcome) -> None:
        """An attempt has ended, by this worker's word."""
        outcome = well_formed(outcome)
        seat = self.seats.get(worker)
        lease: Lease | Held | None = seat.release(outcome.task_id, outcome.attempt) if seat else None
        lease = lease or self._orphan(outcome.task_id, outcome.attempt)
        if lease is not None:
            self.durations.record(lease.digest, outcome.ran_s)
        self.ledger.add(Settlement(outcome.task_id, outcome.attempt, move_of(outcome), worker, outcome))

    def give_back(self, seat: Seat, names: Iterable[wire.Lease]) -> list[wire.Lease]:
        """The worker never started these and never will.  What it does not hold is ignored.

        One that was sent twice may have been given back before its second copy came, and be started now: it counts as
        lost.  Returns those; they are to be dropped.
        """
        doubtful = []
        for name in names:
            lease = seat.release(name.task_id, name.attempt)
            if lease is not None:
                self._owe(lease, Move.LOSE_WORKER if lease.is_resent else Move.GIVE_BACK)
                doubtful += [name] if lease.is_resent else []
        return doubtful

    def present(self, seat: Seat, names: Iterable[wire.Lease], now: float) -> list[wire.Lease]:
        """The worker says that it has these: orphans are adopted.  Returns those that are not its own (any more)."""
        strange = []
        for name in names:
            lease = seat.leases.get(name.task_id)
            if lease is not None and lease.attempt == name.attempt:
                continue
            orphan = self._orphan(name.task_id, name.attempt)
            if orphan is None:
                strange.append(name)
            else:
                seat.take(Lease(orphan.task_id, orphan.attempt, orphan.worker, orphan.digest, now))
        return strange

    def resend(self, seat: Seat, names: Iterable[wire.Lease]) -> None:
        """The worker says that it has just these: what else it should have is sent again.

        The first copy may still be on its way: a worker ignores a task that it holds or has done under the same
        attempt.  What waits to be sent is not sent twice at once: two Hellos may come in one round.
        """
        present = {(name.task_id, name.attempt) for name in names}
        present |= {(task.task_id, task.attempt) for task in self._outbox.get(seat.hello.worker, ())}
        missing = [lease for lease in seat.leases.values() if (lease.task_id, lease.attempt) not in present]
        for lease in missing:
            if lease.task is not None:
                lease.is_resent = True
                self._outbox.setdefault(seat.hello.worker, []).append(lease.task)
            else:
                seat.release(lease.task_id, lease.attempt)
                self._owe(lease, Move.LOSE_WORKER)

    def lose(self, worker: WorkerId) -> int:
        """The worker is gone, with all that it held: how many leases."""
        seat = self.seats.remove(worker)
        self._outbox.pop(worker, None)
        for lease in seat.leases.values():
            self._owe(lease, Move.LOSE_WORKER)
        return len(seat.leases)

    def part(self, worker: WorkerId, undone: Iterable[wire.Lease]) -> None:
        """The worker takes its leave, and names what it has started: it never started, and never will, what else it has."""
        seat = self.seats.get(worker)
        assert seat is not None
        started = {(name.task_id, name.attempt) for name in undone}
        for lease in [lease for lease in seat.leases.values() if (lease.task_id, lease.attempt) not in started]:
            seat.release(lease.task_id, lease.attempt)
            self._owe(lease, Move.GIVE_BACK)
        for held in [held for held in self.orphans.values() if held.worker == worker]:
            if (held.task_id, held.attempt) not in started:
                del self.orphans[held.task_id]
                self._owe(held, Move.GIVE_BACK)

    def drop(self, drops: Iterable[Drop]) -> dict[WorkerId, list[wire.Lease]]:
        """These were cancelled in the store.  Returns, by worker, what it is to be told: what it may have been sent."""
        told: dict[WorkerId, list[wire.Lease]] = {}
        for drop in drops:
            seat = self.seats.get(drop.worker)
            self._orphan(drop.task_id, drop.attempt)
            if seat is None:
                continue
            seat.release(drop.task_id, drop.attempt)
            self._unsend(drop)
            told.setdefault(drop.worker, []).append(wire.Lease(drop.task_id, drop.attempt))
        return told

    def inherit(self, held: Iterable[Held]) -> None:
        """These were another dispatcher's, which is silent."""
        for lease in held:
            self._owe(lease, Move.LOSE_WORKER)

    def expire_orphans(self) -> int:
        """Nobody has presented these in time: how many."""
        orphans, self.orphans = self.orphans, {}
        for held in orphans.values():
            self._owe(held, Move.GIVE_BACK if held.worker in self.seats.by_worker else Move.LOSE_WORKER)
        return len(orphans)

    def reconcile(self, held: Iterable[Held]) -> dict[WorkerId, list[wire.Lease]]:
        """Bring the table in step with the store's.  Returns, by worker, the leases that are no more."""
        stored = {(lease.task_id, lease.attempt): lease for lease in held}
        known = {key for key, _ in self.where()}
        for key in sorted(stored.keys() - known):
            self._owe(stored[key], Move.LOSE_WORKER)
        self.orphans = {held.task_id: held for held in self.orphans.values() if (held.task_id, held.attempt) in stored}
        gone = {seat.hello.worker: self._forget_all_but(seat, stored.keys()) for seat in self.seats}
        return {worker: names for worker, names in gone.items() if names}

    def where(self) -> Iterator[tuple[Key, str]]:
        """Each task of ours under its attempt, and its place."""
        for seat in self.seats.unchanged():
            yield from (((lease.task_id, lease.attempt), seat.hello.worker) for lease in seat.leases.values())
        yield from (((held.task_id, held.attempt), "orphans") for held in self.orphans.values())
        yield from ((key, "ledger") for key in self.ledger)

    def is_empty(self) -> bool:
        """Whether nothing of the store's is in our hands."""
        return next(self.where(), None) is None

    def check(self) -> None:
        """The invariants, for tests: each task in one place, costs in step."""
        self.seats.check()
        places = [key for key, _ in self.where()]
        assert len(places) == len(set(places)), sorted(places)
        for seat in self.seats.unchanged():
            assert seat.load_bytes == sum(lease.size_bytes for lease in seat.leases.values())
            assert abs(seat.load_s - sum(lease.cost_s for lease in seat.leases.values())) < 1e-6

    def _unsend(self, drop: Drop) -> None:
        waiting = self._outbox.get(drop.worker, [])
        waiting[:] = [task for task in waiting if (task.task_id, task.attempt) != (drop.task_id, drop.attempt)]

    def _hand(self, seat: Seat, claimed: Claimed, now: float) -> None:
        expected_s = self.durations.expected(claimed.digest)
        task = TaskToRun(
            claimed.task_id,
            claimed.attempt,
            claimed.digest,
            claimed.params,
            expected_s,
            claimed.checksum,
            allowed(claimed.limits, self.caps),
            claimed.deadline_s,
        )
        lease = Lease.of(task, claimed.worker, now)
        lease.may_run_again = claimed.may_run_again
        seat.take(lease)
        self._outbox.setdefault(claimed.worker, []).append(task)

    def _owe(self, lease: Lease | Held | Claimed, move: Move) -> None:
        self.ledger.add(Settlement(lease.task_id, lease.attempt, move, lease.worker))

    def _orphan(self, task_id: TaskId, attempt: int) -> Held | None:
        held = self.orphans.get(task_id)
        return self.orphans.pop(task_id) if held is not None and held.attempt == attempt else None

    def _forget_all_but(self, seat: Seat, stored: Iterable[Key]) -> list[wire.Lease]:
        keys = set(stored)
        gone = [lease for lease in seat.leases.values() if (lease.task_id, lease.attempt) not in keys]
        for lease in gone:
            seat.release(lease.task_id, lease.attempt)
        return [wire.Lease(lease.task_id, lease.attempt) for lease in gone]


@lru_cache(maxsize=1024)
def allowed(limits: Limits | None, caps: Limits) -> Limits | None:
    """A task's limits within the caps; None where nothing is limited."""
    found = (limits or NO_LIMITS).capped(caps)
    return None if found == NO_LIMITS else found


def move_of(outcome: Outcome) -> Move:
    """What an outcome does to its task: a death that was not its own doing for certain leaves it another attempt.

    So does an exception, if its function's retry policy says so; the store knows that.
    """
    if outcome.failure is None:
        return Move.SUCCEED
    if outcome.failure.kind is FailureKind.OOM and outcome.is_victim:
        return Move.OOM
    return Move.CRASH if outcome.failure.kind is FailureKind.CRASHED else Move.FAIL


def well_formed(outcome: Outcome) -> Outcome:
    """Itself, if it has a failure, or the value that its slot returned; else a failure that says what is wrong with it.

    Without a value the attempt counts as crashed, since its worker lost what it did.
    """
    value, checksum = outcome.value, outcome.checksum
    if outcome.failure is None and value is not None and checksum is not None and crc32(value) != checksum:
        text = "its value was damaged on the way from its slot: submit the task again"
        failure = Failure(FailureKind.CORRUPT_PAYLOAD, "DamagedValue", text)
        return msgspec.structs.replace(outcome, value=None, checksum=None, failure=failure)
    if outcome.failure is not None or value is not None:
        return outcome
    failure = Failure(FailureKind.CRASHED, "EmptyOutcome", "its worker reported neither a value nor a failure")
    return msgspec.structs.replace(outcome, failure=failure)
