"""Core: where a task may go: the seat of a worker, its room, and the work that waits there.

Theory of operation. A worker's room is its free slots plus a *window*: about ``AHEAD_S`` seconds of expected work per
slot, so that no slot waits for a round trip. Every lease uses up its expected time of that window, at most one slot's
share; a function never seen counts as one whole share, so nothing goes ahead behind it on that slot. Only functions
known to be short go ahead at all. Three policies over one protocol, by the mode of the worker:

- push and local: room is what is left of slots and window; the dispatcher fills it, least loaded worker first;
- pull: the same, but never more than the worker granted: its last grant, minus what it holds.

Ties rotate: of equally loaded workers, the one served longest ago comes first (``seats``).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from regrow.actors.task import Digest, TaskId, WorkerId
from regrow.actors.wire import BATCH_BYTES, BATCH_TASKS, Hello, Mode, Pressure, TaskToRun

AHEAD_S: Final = 0.010  # seconds of expected work per slot that may wait at a worker
LEAST_S: Final = 50e-6  # a task never counts as shorter: bounds the window to AHEAD_S / LEAST_S tasks per slot
MOST_S: Final = 1e9  # nor as longer
AHEAD_BYTES: Final = 16 * 1024 * 1024  # of parameters at a worker, above which nothing more goes ahead
WEIGHT: Final = 0.2  # of the newest run in a function's moving average
KNOWN_FUNCTIONS: Final = 256  # functions whose run times are remembered; the one unused for longest goes first
RECALL_AFTER_S: Final = 0.020  # unstarted work older than this is called back when another worker idles


@dataclass(slots=True)
class Durations:
    """Recent run times by function: a bounded table of moving averages, in seconds."""

    _known: dict[Digest, float] = field(default_factory=dict)

    def record(self, digest: Digest, ran_s: float) -> None:
        """One run of this function took ``ran_s`` seconds."""
        ran_s = min(max(LEAST_S, ran_s), MOST_S)  # in this order what is not a number counts as least
        known = self._known.pop(digest, ran_s)
        self._known[digest] = known + WEIGHT * (ran_s - known)
        if len(self._known) > KNOWN_FUNCTIONS:
            del self._known[next(iter(self._known))]

    def expected(self, digest: Digest) -> float | None:
        """Seconds that the next run will take, as far as known."""
        return self._known.get(digest)

    def short(self) -> dict[Digest, float]:
        """The functions that may go ahead."""
        return {digest: seconds for digest, seconds in self._known.items() if seconds <= AHEAD_S}


@dataclass(slots=True)
class Lease:
    """One claimed task at one worker.

    ``task`` is None for a lease adopted from a former incarnation: no parameters here.
    """

    task_id: TaskId
    attempt: int
    worker: WorkerId
    digest: Digest
    sent_at: float  # monotonic seconds
    task: TaskToRun | None = None
    cost_s: float = AHEAD_S  # its part of the window, in seconds
    may_run_again: bool = False  # should it die; False also where that is not known
    is_resent: bool = False  # sent twice: what the worker says of the one copy may not hold for the other

    @property
    def size_bytes(self) -> int:
        """Of its parameters, as far as they are here."""
        return len(self.task.params) if self.task is not None else 0

    @classmethod
    def of(cls, task: TaskToRun, worker: WorkerId, now: float) -> "Lease":
        """A lease that is about to be sent."""
        cost_s = AHEAD_S if task.expected_s is None else min(max(task.expected_s, LEAST_S), AHEAD_S)
        return cls(task.task_id, task.attempt, worker, task.digest, now, task, cost_s)


@dataclass(slots=True)
class Seat:
    """A registered worker: what it holds, oldest first, and what more it can take."""

    hello: Hello
    last_beat: float  # monotonic seconds
    leases: dict[TaskId, Lease] = field(default_factory=dict)
    load_s: float = 0.0  # sum of the leases' costs
    load_bytes: int = 0  # sum of their parameters
    granted: int = 0  # pull: tasks that it is willing to hold at once
    busy: list[int] = field(default_factory=list)  # numbers of slots at work, by its last beat
    is_draining: bool = False
    is_reachable: bool = True  # False from a failed send until it speaks again
    turn: int = 0  # greater than that of all that were served before it
    recall_not_before: float = 0.0  # monotonic seconds
    pressure: Pressure | None = None  # its last word on memory, unless that was OK
    quota: int | None = None  # tasks that it may hold while memory is short; None: it is not
    heard: int | None = None  # of what it has said; None: it does not count
    sent: int = 0  # messages to it since its last Welcome

    @property
    def is_open(self) -> bool:
        """Whether it may be given tasks at all."""
        has_quota = self.quota is None or len(self.leases) < self.quota
        return has_quota and self.is_reachable and not self.is_draining

    def free(self) -> int:
        """Slots without a task."""
        slots = min(self.hello.slots, self.granted) if self.hello.mode is Mode.PULL else self.hello.slots
        slots = slots if self.quota is None else min(slots, self.quota)
        return max(slots - len(self.leases), 0) if self.is_open else 0

    def ahead_s(self, shortest_s: float) -> float:
        """Seconds of short work that it may take beyond its free slots; pull counts in tasks of ``shortest_s`` each."""
        if not self.is_open or self.quota is not None or self.load_bytes >= AHEAD_BYTES:
            return 0.0
        window_s = max(AHEAD_S * self.hello.slots - self.load_s, 0.0)
        if self.hello.mode is not Mode.PULL:
            return window_s
        beyond = self.granted - max(self.hello.slots, len(self.leases))
        return max(min(window_s, beyond * shortest_s), 0.0)

    def take(self, lease: Lease) -> None:
        """It holds one more."""
        self.leases[lease.task_id] = lease
        self.load_s += lease.cost_s
        self.load_bytes += lease.size_bytes

    def release(self, task_id: TaskId, attempt: int) -> Lease | None:
        """It no longer holds this one; None if it did not, or under another attempt."""
        lease = self.leases.get(task_id)
        if lease is None or lease.attempt != attempt:
            return None
        del self.leases[task_id]
        self.load_s = self.load_s - lease.cost_s if self.leases else 0.0
        self.load_bytes -= lease.size_bytes
        return lease

    def unstarted(self) -> int:
        """Tasks that must wait at it for a slot."""
        return max(len(self.leases) - self.hello.slots, 0)

    def recall_due(self) -> float | None:
        """When its oldest waiting task will have waited too long; None when nothing waits."""
        waiting = next(islice(self.leases.values(), self.hello.slots, None), None)
        return max(waiting.sent_at + RECALL_AFTER_S, self.recall_not_before) if waiting else None


def batches(tasks: Iterable[TaskToRun]) -> Iterator[list[TaskToRun]]:
    """Cut into messages of at most BATCH_TASKS tasks and BATCH_BYTES bytes; a larger task travels alone."""
    batch: list[TaskToRun] = []
    total_bytes = 0
    for task in tasks:
        total_bytes += len(task.params)
        if batch and (total_bytes > BATCH_BYTES or len(batch) == BATCH_TASKS):
            yield batch
            batch, total_bytes = [], len(task.params)
        batch.append(task)
    if batch:
        yield batch
