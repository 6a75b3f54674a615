"""Core: one slot and the tasks in it, as its worker sees them."""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import Final

from regrow.actors import verdicts
from regrow.actors.cache import CodeCache
from regrow.actors.effects import Death
from regrow.actors.limits import NO_LIMITS, Limits
from regrow.actors.output import NOTHING_PRINTED, Printed
from regrow.actors.packets import SLOT_CACHE_BYTES, Answer, CodeMissing, Ended
from regrow.actors.task import Failure, TaskId
from regrow.actors.wire import Lease, TaskToRun

AHEAD_S: Final = 0.010  # expected work in one slot, seconds
AHEAD_TASKS: Final = 64  # tasks in one slot
AHEAD_PARAMS_BYTES: Final = 3 * 1024  # larger calls are fed one at a time; AHEAD_TASKS of these fit a socket's buffer
UNBOUNDED: Final = 2.0**53  # an amount from here on is no limit
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
    is_late: bool = False  # its deadline has come: it is not started any more
    due: float | None = None  # its deadline, monotonic seconds
    printed: Printed = NOTHING_PRINTED
    limits: Limits | None = field(init=False)
    deadline_s: float | None = field(init=False)
    is_bounded: bool = field(init=False)  # has it limits, or a deadline?

    def __post_init__(self) -> None:
        task = self.task
        self.limits = None if task.limits is None else sane(task.limits)
        self.deadline_s = None if task.deadline_s is None else _sane(task.deadline_s)
        self.is_bounded = self.limits is not None or self.deadline_s is not None

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

    def lateness(self) -> Failure:
        """Its end, when its deadline has come before it started."""
        return verdicts.deadline_passed(self.deadline_s or 0.0, has_started=False)

    def overprinting(self) -> Failure | None:
        """Its end, if it has printed more than it may."""
        limit = self.limits.output_bytes if self.limits is not None else None
        if limit is None or self.printed.size_bytes <= limit:
            return None
        return verdicts.printed_too_much(limit, self.printed.size_bytes)

    @property
    def is_quick(self) -> bool:
        """May it be fed behind another task?"""
        return self.expected_s <= AHEAD_S and len(self.task.params) <= AHEAD_PARAMS_BYTES


@lru_cache(maxsize=256)
def sane(limits: Limits) -> Limits | None:
    """Limits without amounts that nothing can be compared with; ``None`` if there are no others."""
    amounts = {name: _sane(getattr(limits, name)) for name in Limits.__struct_fields__}
    checked = Limits(**amounts)  # type: ignore[arg-type]  # each amount is of the type that it was
    return None if checked == NO_LIMITS else checked


def _sane(amount: float | None) -> float | None:
    if amount is None or math.isnan(amount) or amount >= UNBOUNDED:
        return None
    return max(0, amount)


@dataclass(slots=True)
class Sentence:
    """How a task that is over is to end, if its slot is still at it when it is killed."""

    turn: int
    failure: Failure
    ran_s: float
    is_victim: bool = False


@dataclass(slots=True)
class Slot:
    """One slot. ``fed`` is in the order of feeding, by turn number."""

    phase: Phase = Phase.STARTING
    fed: dict[int, Job] = field(default_factory=dict)
    known: CodeCache = field(default_factory=lambda: CodeCache(SLOT_CACHE_BYTES))  # estimate of the slot's own
    carriers: set[int] = field(default_factory=set)  # turns in ``fed`` whose packets carry their function
    expected_s: float = 0.0  # of everything in ``fed``
    verdict: str = ""  # why its worker kills it
    sentence: Sentence | None = None
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

    def front(self) -> tuple[int, Job | None]:
        """The turn that it is at, unless it has not read it yet, and its task."""
        return next(iter(self.fed.items()), (0, None))

    def is_sentenced(self) -> bool:
        """Is it still at the task that is over?"""
        return self.sentence is not None and self.front()[0] == self.sentence.turn

    def last_word(self, turn: int, death: Death) -> Ended:
        """How a task ends that it has died at."""
        if self.sentence is not None and self.sentence.turn == turn:
            return Ended(None, self.sentence.failure, self.sentence.ran_s)
        if self.is_victim(turn, death):
            return Ended(None, verdicts.killed_by_kernel(death.reason, death.peak_bytes, death.output), 0.0)
        return Ended(None, verdicts.crashed(death.reason, self.verdict, death.output), 0.0)

    def is_victim(self, turn: int, death: Death) -> bool:
        """Was it killed for want of memory, by its worker at this turn, or by the kernel?"""
        if self.sentence is not None and self.sentence.turn == turn:
            return self.sentence.is_victim
        return death.is_oom and not self.verdict

    def has_late(self) -> bool:
        """Is there anything behind its front that is not to be started any more?"""
        return any(job.is_late for job in islice(self.fed.values(), 1, None))

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
