"""Core: what is done when memory is short: how short it is, who takes nothing new, and which task is killed.

Theory of operation. A worker looks at its memory every LOOK_S while it has tasks (``memory``, ``gauge``), and turns what is
used of what budget into a level (``Scale``). What counts is what is left: a task fills some hundred megabytes between two
looks at most, however large the machine is. So each line is a share of the budget, and never more than some bytes:

- HIGH, below HIGH_SHARE or HIGH_BYTES: no worker of that memory gets new tasks, and what has not started is called back. While
  nothing at all runs there, one task is let in at a time: a tree that is itself too large for its budget is slow, not dead.
- CRITICAL, below CRITICAL_SHARE or CRITICAL_BYTES: one running task is killed. It goes back to the queue after a delay, and
  ends ``oom`` the third time (the store's rule).
- A level is left only when there is LEAVE times its line, so that it does not flap.

*Who is killed.* Of those that run there, and have taken at least as much as the average of them, the newest that may run
again: it loses least work. Merely the newest is often a task that has taken nothing, whose death frees nothing. A task with a
single attempt is killed only if nobody else has taken his share; whoever has taken less than LEAST_BYTES, never.
What was taken is what the workers have last said, at most a look ago.

*One at a time.* After a kill the next critical word counts only if it is later: from the victim's own worker once that has told
of its end (a worker's words arrive in order), from anybody after AGAIN_S.

Memories are told apart by ``Hello.memory``: a machine, a cgroup, or a tree with a budget of its own.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from regrow.actors.events import Event
from regrow.actors.leases import allowed
from regrow.actors.limits import NO_LIMITS, Limits
from regrow.actors.placement import Lease, Seat
from regrow.actors.seats import Seats
from regrow.actors.stimuli import Effect, Fields, Report
from regrow.actors.task import Failure, FailureKind, WorkerId
from regrow.actors.wire import Lease as Name
from regrow.actors.wire import Level, Pressure, Recall, Shed, TaskToRun, ToWorker

MIB: Final = 2**20
LOOK_S: Final = 0.1  # between looks at memory
AGAIN_S: Final = 0.3  # after which a kill must have had its effect
HIGH_SHARE: Final = 0.2  # of the budget left, or HIGH_BYTES if that is less
HIGH_BYTES: Final = 512 * MIB
CRITICAL_SHARE: Final = 0.1
CRITICAL_BYTES: Final = 256 * MIB
LEAVE: Final = 1.25  # times as much must be left before a level is over
LEAST_BYTES: Final = 8 * MIB  # a task that has taken less is not worth its death


class Reading(NamedTuple):
    """What is used of what there is."""

    used_bytes: int
    budget_bytes: int

    @property
    def left_bytes(self) -> int:
        """What can still be taken."""
        return self.budget_bytes - self.used_bytes


@dataclass(slots=True)
class Scale:
    """Turns readings into levels."""

    level: Level = Level.OK

    def weigh(self, reading: Reading) -> Level:
        """The level by this reading, and by the one before."""
        here = Level.OK
        for level, share, most_bytes in (
            (Level.HIGH, HIGH_SHARE, HIGH_BYTES),
            (Level.CRITICAL, CRITICAL_SHARE, CRITICAL_BYTES),
        ):
            line = min(share * reading.budget_bytes, most_bytes)
            if reading.left_bytes < (line * LEAVE if self.level >= level else line):
                here = level
        self.level = here
        return here


class Running(NamedTuple):
    """A running task."""

    seat: Seat
    lease: Lease
    used_bytes: int


def shed_for(pressure: Pressure) -> Failure:
    """How an attempt ends that was killed for its memory."""
    text = (
        f"it was killed for the memory that it had: {pressure.used_bytes / MIB:,.0f} MiB of {pressure.budget_bytes / MIB:,.0f} "
        "were in use; give the machine or the budget (--memory-budget-bytes) more, or have fewer slots or smaller tasks"
    )
    return Failure(FailureKind.OOM, "MemoryPressure", text)


def capped(tasks: list[TaskToRun], caps: Limits) -> list[TaskToRun]:
    """The same tasks, with no limit above those of their worker."""
    if caps == NO_LIMITS:
        return tasks
    return [msgspec.structs.replace(task, limits=allowed(task.limits, caps)) for task in tasks]


def victim(running: Iterable[Running]) -> Running | None:
    """Whose death helps most and costs least; ``None``: nobody's would help."""
    all_running = list(running)
    average = sum(one.used_bytes for one in all_running) / max(len(all_running), 1)
    able = [one for one in all_running if one.used_bytes >= max(average, LEAST_BYTES)]
    return max(able, key=lambda one: (one.lease.may_run_again, one.lease.sent_at), default=None)


class Killing(NamedTuple):
    """The last kill in a memory."""

    lease: Lease
    at: float


@dataclass(slots=True)
class Pressures:
    """The memories of all workers.  ``effects`` is shared with its owner, ``send`` its own.  Times are monotonic seconds."""

    seats: Seats
    effects: list[Effect]
    send: Callable[[WorkerId, ToWorker], None]
    _known: dict[str, Level] = field(default_factory=dict)  # memories that are not OK
    _killings: dict[str, Killing] = field(default_factory=dict)

    def hear(self, seat: Seat, pressure: Pressure, now: float) -> None:
        """A worker says how short memory is."""
        memory = seat.hello.memory
        seat.pressure = None if pressure.level is Level.OK else pressure
        self._learn(memory, pressure)
        if pressure.level is Level.CRITICAL and self._is_news(seat, now):
            self._kill(memory, now)

    def ration(self) -> None:
        """Say how many tasks each seat may hold.  To be called before a claim, whatever has happened."""
        if not self._known:
            return
        for memory, before in list(self._known.items()):
            level = self._level(memory)
            if level is not before:  # who said otherwise is gone, and nobody has said how much is used now
                self._report(level, {"memory": memory, "state": level.name.lower()})
                self._known[memory] = level
            if level is Level.OK:
                del self._known[memory]
                self._killings.pop(memory, None)
        busy = {seat.hello.memory for seat in self.seats if seat.leases}
        for seat in self.seats:
            memory = seat.hello.memory
            seat.quota = None
            if memory in self._known:
                may_have_one = memory not in busy and seat.is_open
                seat.quota = 1 if may_have_one else 0
                busy |= {memory} if may_have_one else set()

    def _learn(self, memory: str, pressure: Pressure) -> None:
        before, level = self._known.get(memory, Level.OK), self._level(memory)
        if level is before:
            return
        self._known[memory] = level  # if that is OK, ``ration`` forgets it
        fields: Fields = {
            "memory": memory,
            "state": level.name.lower(),
            "used_bytes": pressure.used_bytes,
            "budget_bytes": pressure.budget_bytes,
        }
        self._report(level, fields)
        if before is Level.OK:
            self._call_back(memory)

    def _report(self, level: Level, fields: Fields) -> None:
        self.effects.append(Report(Event.MEMORY_PRESSURE, fields, is_warning=level is not Level.OK))

    def _level(self, memory: str) -> Level:
        return max((seat.pressure.level for seat in self._of(memory) if seat.pressure), default=Level.OK)

    def _of(self, memory: str) -> Iterator[Seat]:
        return (seat for seat in self.seats if seat.hello.memory == memory)

    def _call_back(self, memory: str) -> None:
        for seat in self._of(memory):
            if seat.unstarted():
                self.send(seat.hello.worker, Recall(seat.unstarted()))

    def _is_news(self, seat: Seat, now: float) -> bool:
        last = self._killings.get(seat.hello.memory)
        if last is None or now >= last.at + AGAIN_S:
            return True
        held = seat.leases.get(last.lease.task_id)
        return seat.hello.worker == last.lease.worker and (held is None or held.attempt != last.lease.attempt)

    def _kill(self, memory: str, now: float) -> None:
        found = victim(running for seat in self._of(memory) for running in _running(seat))
        if found is None:
            return
        seat, lease, used_bytes = found
        self._killings[memory] = Killing(lease, now)
        self.send(seat.hello.worker, Shed(Name(lease.task_id, lease.attempt)))
        fields: Fields = {
            "task": lease.task_id,
            "attempt": lease.attempt,
            "worker": seat.hello.worker,
            "used_bytes": used_bytes,
        }
        self.effects.append(Report(Event.TASK_SHED, fields, is_warning=True))


def _running(seat: Seat) -> Iterator[Running]:
    """What its worker said that it runs, as far as that is still so."""
    for use in seat.pressure.running if seat.pressure else ():
        lease = seat.leases.get(use.task_id)
        if lease is not None and lease.attempt == use.attempt:
            yield Running(seat, lease, use.used_bytes)
