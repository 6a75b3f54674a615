"""Core: one slot and the tasks in it, as its worker sees them."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from regrow.actors.cache import CodeCache
from regrow.actors.packets import SLOT_CACHE_BYTES, Answer, CodeMissing
from regrow.actors.task import TaskId
from regrow.actors.wire import Lease, TaskToRun

AHEAD_S: Final = 0.010  # expected work in one slot, seconds
AHEAD_TASKS: Final = 64  # tasks in one slot
AHEAD_PARAMS_BYTES: Final = 3 * 1024  # larger calls are fed one at a time; AHEAD_TASKS of these fit a socket's buffer
UNKNOWN_S: Final = 3600.0  # stands for "no idea": nothing is fed behind it

FAILED_STARTS: Final = 6  # in a row, without one slot ever ready: starting again is no use
RESTART_MIN_S: Final = 0.05  # delay after the first failed start; doubles
RESTART_MAX_S: Final = 5.0

Key = tuple[TaskId, int]  # a lease as a dictionary key


class Phase(StrEnum):
    """Where a slot stands."""

    STARTING = "starting"
    READY = "ready"
    ENDING = "ending"  # a kill is on its way
    STOPPED = "stopped"  # drained: not started again


@dataclass(slots=True, eq=False)
class Job:
    """A task that the worker holds."""

    task: TaskToRun
    is_dropped: bool = False  # somebody else's by now: whatever comes of it is forgotten

    @property
    def key(self) -> Key:
        """Its lease."""
        return self.task.task_id, self.task.attempt

    @property
    def lease(self) -> Lease:
        """Its lease, as the protocol says it."""
        return Lease(self.task.task_id, self.task.attempt)

    @property
    def expected_s(self) -> float:
        """Seconds that it should take."""
        return UNKNOWN_S if self.task.expected_s is None else self.task.expected_s

    @property
    def is_quick(self) -> bool:
        """May it be fed behind another task?"""
        return self.expected_s <= AHEAD_S and len(self.task.params) <= AHEAD_PARAMS_BYTES


@dataclass(slots=True)
class Slot:
    """One slot. ``fed`` is in the order of feeding, by turn number."""

    phase: Phase = Phase.STARTING
    fed: dict[int, Job] = field(default_factory=dict)
    known: CodeCache = field(default_factory=lambda: CodeCache(SLOT_CACHE_BYTES))  # estimate of the slot's own
    carriers: set[int] = field(default_factory=set)  # turns in ``fed`` whose packets carry their function
    expected_s: float = 0.0  # of everything in ``fed``
    verdict: str = ""  # why its worker kills it
    is_dry: bool = False  # the last steal found nothing, and nothing was fed or answered since
    has_worked: bool = False  # was fed something since it became ready

    @property
    def is_idle(self) -> bool:
        """Ready, with nothing to do."""
        return self.phase is Phase.READY and not self.fed

    @property
    def is_deep(self) -> bool:
        """It may have tasks that it has not read."""
        return self.phase is Phase.READY and len(self.fed) > 1 and not self.is_dry

    def has_room(self, job: Job) -> bool:
        """May this quick task be fed behind what it has?"""
        return self.phase is Phase.READY and self.expected_s + job.expected_s <= AHEAD_S and len(self.fed) < AHEAD_TASKS

    def take(self, number: int, job: Job, code: bytes) -> bool:
        """Record that it was fed; whether the packet must carry the function."""
        self.fed[number] = job
        is_known = self.known.get(job.task.digest) is not None
        if not is_known:
            self.known.put(job.task.digest, code)
            self.carriers.add(number)
        self.expected_s += job.expected_s
        self.has_worked = True
        self.is_dry = False
        return not is_known

    def protest(self, turn: int, answer: Answer) -> str:
        """What is wrong with this as the next answer; "" if nothing is."""
        if turn != next(iter(self.fed), None):
            return "it answered a call that it was not at"
        if isinstance(answer, CodeMissing) and turn in self.carriers:
            return "it missed a function that had come with its call"
        return ""

    def release(self, number: int) -> Job:
        """Record that this turn is over, or was stolen."""
        job = self.fed.pop(number)
        self.carriers.discard(number)
        self.expected_s = self.expected_s - job.expected_s if self.fed else 0.0
        return job

    def take_back(self, unread: list[int]) -> dict[int, Job]:
        """Release what was stolen; by turn. The slot has not seen the functions that came with it.

        It may be reading a call that was behind a stolen one, and then misses that call's function.
        """
        if unread:
            self.known.clear()
        return {number: self.release(number) for number in unread if number in self.fed}

    def has_dropped(self) -> bool:
        """Is it at something that it should not be at?"""
        return any(job.is_dropped for job in self.fed.values())


@dataclass(slots=True)
class Starts:
    """How a worker's slots start: at once after work, later and later when they keep dying without any."""

    failed: int = 0  # in a row, over all slots
    has_succeeded: bool = False  # was any slot ever ready?

    def note_death(self, has_worked: bool) -> None:
        """A slot has died, after work or without."""
        self.failed = 0 if has_worked else self.failed + 1

    def delay_s(self) -> float | None:
        """How long to wait before the next start; ``None``: there is no use in one."""
        if self.failed >= FAILED_STARTS and not self.has_succeeded:
            return None
        return min(RESTART_MAX_S, RESTART_MIN_S * 2 ** (self.failed - 1)) if self.failed else 0.0
