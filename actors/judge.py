"""Core: which running tasks have used up what they may, and which waiting ones have no time left.

Theory of operation. The task at the front of a slot's queue runs, and has started when it was first seen there: ``judge`` is
asked at the end of each round of its worker, and at ``next_deadline``. What is over is *sentenced*: what its slot has not read
is stolen back first, so that no other task starts in it, and then the slot is killed, if it is still at that task (``slots``).

Time is a deadline. What else there is to measure (memory, processes, CPU time) is looked up in the system, by the ``Measure``
effect, and only for tasks that have such a limit: when they start, to know what their slot had before, and then

- CPU time at the soonest moment at which it could be used up, if every core worked for this task alone;
- memory and processes at intervals, longer ones the more processes there are.

What can be held in the slot itself, or seen at the end of the call, is (``bounds``).
"""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from regrow.actors import verdicts
from regrow.actors.effects import Effect, Measure
from regrow.actors.limits import NO_LIMITS, Limits
from regrow.actors.slot import Job, Phase
from regrow.actors.slots import Slots
from regrow.actors.task import Failure

SAMPLE_S: Final = 0.05  # between two looks at memory and processes
SAMPLE_PROCESS_S: Final = 0.002  # longer for each process: a look at one takes some 40 us
LOOK_MIN_S: Final = 0.02  # between two looks at CPU time


class Usage(msgspec.Struct, frozen=True):
    """What a slot and all below it use. ``own``: the part of the slot process."""

    cpu_s: float = 0.0  # also of processes that have ended and were waited for
    memory_bytes: int = 0  # resident and anonymous
    processes: int = 0  # alive, below the slot
    own_cpu_s: float = 0.0
    own_memory_bytes: int = 0


@dataclass(slots=True)
class Watch:
    """One running task that has limits."""

    turn: int
    job: Job
    started_at: float
    look_at: float | None = None  # when to measure next
    before: Usage | None = None  # what there was when it started
    limits: Limits = field(init=False)

    def __post_init__(self) -> None:
        self.limits = self.job.limits or NO_LIMITS
        if self.limits.cpu_s is not None or self.limits.memory_bytes is not None:
            self.look_at = self.started_at
        elif self.limits.processes is not None:
            self.look_at = self.started_at + SAMPLE_S

    def ends_at(self) -> float | None:
        """When its time is over."""
        wall_s = self.limits.wall_s
        ends = (None if wall_s is None else self.started_at + wall_s, self.job.due)
        return min((end for end in ends if end is not None), default=None)

    def next_deadline(self) -> float | None:
        """When to look at it next."""
        return min((at for at in (self.ends_at(), self.look_at) if at is not None), default=None)

    def is_over(self, now: float) -> Failure | None:
        """Its end, if its time is over."""
        if self.job.due is not None and self.job.due <= now:
            return verdicts.deadline_passed(self.job.deadline_s or 0.0, has_started=True)
        if self.limits.wall_s is not None and self.started_at + self.limits.wall_s <= now:
            return verdicts.ran_too_long(self.limits.wall_s)
        return None

    def has_too_much(self, usage: Usage) -> Failure | None:
        """Its end, if it uses more than it may."""
        before = self.before or usage
        memory_bytes, cpu_s = usage.memory_bytes - before.own_memory_bytes, usage.cpu_s - before.own_cpu_s
        may = self.limits
        if may.memory_bytes is not None and memory_bytes > may.memory_bytes:
            return verdicts.out_of_memory(may.memory_bytes, memory_bytes)
        if may.cpu_s is not None and cpu_s > may.cpu_s:
            return verdicts.exceeded("cpu_s", may.cpu_s, cpu_s)
        if may.processes is not None and usage.processes > may.processes:
            return verdicts.exceeded("processes", may.processes, usage.processes)
        return None

    def look_again(self, usage: Usage, now: float, cores: int) -> None:
        """It had this, and may go on; when to measure next."""
        self.before = before = self.before or usage
        looks = []
        if self.limits.cpu_s is not None:
            left_s = self.limits.cpu_s - (usage.cpu_s - before.own_cpu_s)
            looks.append(now + max(LOOK_MIN_S, left_s / cores))
        if self.limits.memory_bytes is not None or self.limits.processes is not None:
            looks.append(now + SAMPLE_S + SAMPLE_PROCESS_S * usage.processes)
        self.look_at = min(looks, default=None)


class Judge:
    """Watches the tasks in ``slots``. ``cores``: how many can work at the same time."""

    def __init__(self, slots: Slots, cores: int) -> None:
        self._slots = slots
        self._cores = cores
        self._watches: dict[int, Watch] = {}  # by slot
        self._dues: list[float] = []  # of the tasks that wait

    def judge(self, now: float) -> list[Effect]:
        """What has come to the front has started; what is over is to end."""
        if not self._slots.has_bounds:
            return []
        bounded = [job for job in self._slots.held.values() if job.is_bounded]
        self._slots.has_bounds = bool(bounded)
        self._follow(now)
        effects = self._expire(bounded, now)
        for number, watch in list(self._watches.items()):
            effects += self._check(number, watch, now)
        return effects

    def next_deadline(self) -> float | None:
        """When to judge next, at the latest; None: not until something happens."""
        looks = [at for watch in self._watches.values() if (at := watch.next_deadline()) is not None]
        return min(looks + self._dues, default=None)

    def measured(self, number: int, usage: Usage, now: float) -> list[Effect]:
        """What a slot and all below it use at this moment."""
        watch = self._watches.get(number)
        if watch is None:
            return []
        if failure := watch.has_too_much(usage):
            return self._sentence(number, watch, failure, now)
        watch.look_again(usage, now, self._cores)
        return []

    def printing(self, number: int, size_bytes: int, now: float) -> list[Effect]:
        """The task that runs in this slot has printed so much."""
        watch = self._watches.get(number)
        limit = watch.limits.output_bytes if watch is not None else None
        if watch is None or limit is None or size_bytes <= limit:
            return []
        return self._sentence(number, watch, verdicts.printed_too_much(limit, size_bytes), now)

    def _follow(self, now: float) -> None:
        """One watch for each slot that is at a task with limits."""
        for number, slot in enumerate(self._slots.slots):
            turn, job = slot.front() if slot.phase is Phase.READY else (0, None)
            if job is None or job.is_dropped or not job.is_bounded:
                self._watches.pop(number, None)
            elif number not in self._watches or self._watches[number].turn != turn:
                self._watches[number] = Watch(turn, job, now)

    def _expire(self, bounded: list[Job], now: float) -> list[Effect]:
        """End what has waited until its deadline."""
        for job in bounded:
            if job.due is None and job.deadline_s is not None:
                job.due = now + job.deadline_s
        self._dues = [job.due for job in bounded if job.due is not None and job.due > now]
        late = [job for job in bounded if job.due is not None and job.due <= now and not job.is_late]
        return self._slots.expire(late) if late else []

    def _check(self, number: int, watch: Watch, now: float) -> list[Effect]:
        if failure := watch.is_over(now):
            return self._sentence(number, watch, failure, now)
        if watch.look_at is not None and watch.look_at <= now:
            watch.look_at = None
            return [Measure(number)]
        return []

    def _sentence(self, number: int, watch: Watch, failure: Failure, now: float) -> list[Effect]:
        """Where the slot turns out not to have read it, it has not started, and is watched anew when it has."""
        del self._watches[number]
        return self._slots.sentence(number, watch.turn, failure, now - watch.started_at)
