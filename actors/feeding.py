"""Core: what all that happens to a worker's slots ends with: tasks are given back, ended, fed to slots, and evened out.

This is the lower half of ``slots.Slots``, whose theory of operation it shares.
"""

from regrow.actors.backlog import Backlog
from regrow.actors.effects import Deliver, Effect, Feed, GiveBack, NeedCode, Steal
from regrow.actors.kept import Kept
from regrow.actors.output import Printed
from regrow.actors.packets import Ended
from regrow.actors.slot import Job, Key, Slot
from regrow.actors.task import Digest, Outcome


class Feeding:
    """The slots, the tasks that are held, and the way of one to the other."""

    def __init__(self, count: int) -> None:
        self.slots = [Slot() for _ in range(count)]
        self.held: dict[Key, Job] = {}
        self.unacknowledged = Kept()
        self.is_draining = False
        self.has_bounds = False  # may any held task have limits or a deadline? For the judge, who sees that none has
        self._has_late = False  # are there tasks that are not to be started any more?
        self._idle: dict[int, None] = {}  # ready slots with nothing fed, longest idle first
        self._backlog = Backlog()
        self._stealing: set[int] = set()
        self._recalled = 0  # tasks that still are to be given back
        self._numbers = 0

    def _steal(self, number: int) -> Effect:
        self._stealing.add(number)
        return Steal(number)

    def _ask(self, digests: list[Digest]) -> list[Effect]:
        return [NeedCode(digests)] if digests else []

    def _spread(self) -> list[Effect]:
        """Give back what is recalled, then feed what can be fed, then even out."""
        if self._stealing:
            return []
        effects = self._give_back() + self._end_late()
        while not self.unacknowledged.is_full and (job := self._backlog.head()) is not None:
            code = self._backlog.code.get(job.task.digest)
            if code is None:  # forgotten for others' sake while the task waited
                effects += self._ask(self._backlog.add([self._backlog.take()]))
            elif (number := self._place(job)) is not None:
                effects.append(self._feed(number, self._backlog.take(), code))
            else:
                break
        return effects + self._even_out()

    def _give_back(self) -> list[Effect]:
        """The newest unstarted tasks, as many as are recalled; when draining, all."""
        count, self._recalled = len(self.held) if self.is_draining else self._recalled, 0
        newest = self._backlog.take_newest(count) if count else []
        for job in newest:
            del self.held[job.key]
        return [GiveBack([job.lease for job in newest])] if newest else []

    def _place(self, job: Job) -> int | None:
        """The slot for it: the longest idle one, else for a quick task the one with the least ahead of it."""
        if (idle := next(iter(self._idle), None)) is not None:
            return idle
        if not job.is_quick:
            return None
        roomy = [number for number, slot in enumerate(self.slots) if slot.has_room(job)]
        return min(roomy, key=lambda number: self.slots[number].expected_s, default=None)

    def _feed(self, number: int, job: Job, code: bytes) -> Feed:
        self._idle.pop(number, None)
        self._numbers += 1
        is_carrier = self.slots[number].take(self._numbers, job, code)
        task = job.task
        code_sent = code if is_carrier else None
        return Feed(number, self._numbers, task.digest, task.params, code_sent, job.limits, task.checksum)

    def _even_out(self) -> list[Effect]:
        """Steal from the slot with the most unread tasks while another has none."""
        deep = [number for number, slot in enumerate(self.slots) if slot.is_deep] if self._idle else []
        return [self._steal(max(deep, key=lambda number: len(self.slots[number].fed)))] if deep else []

    def _end_late(self) -> list[Effect]:
        """Of the tasks that wait, those whose deadline has come."""
        if not self._has_late:
            return []
        self._has_late = False
        jobs = self._backlog.take_late()
        return [self._end(job, Ended(None, job.lateness(), 0.0)) for job in jobs]

    def _end(self, job: Job, ended: Ended, printed: Printed | None = None, *, is_victim: bool = False) -> Deliver:
        """The task's outcome exists: hold the outcome instead of the task. ``printed``: where it has not been told before."""
        del self.held[job.key]
        job.printed = job.printed if printed is None else printed
        if job.printed.size_bytes and ended.failure is None and (failure := job.overprinting()) is not None:
            ended = Ended(None, failure, ended.ran_s)
        outcome = Outcome(
            job.task.task_id,
            job.task.attempt,
            ended.value,
            ended.failure,
            ended.ran_s,
            job.printed.kept,
            ended.checksum,
            is_victim,
        )
        self.unacknowledged.keep(outcome)
        return Deliver(outcome)

    def check(self) -> None:
        """The invariants, for tests.  Raises AssertionError that names the broken one."""
        places = list(self._backlog)
        places += [job for slot in self.slots for job in slot.fed.values() if not job.is_dropped]
        assert sorted(job.key for job in places) == sorted(self.held), "a held task is in no place, or in two"
        assert not self.held.keys() & self.unacknowledged.keys(), "a task is held after its outcome"
        idle = {number for number, slot in enumerate(self.slots) if slot.is_idle}
        assert idle == set(self._idle), "the idle slots are not those that are ready and empty"
        if idle and not self._stealing and not self.unacknowledged.is_full:
            assert self._backlog.head() is None, "a task waits beside an idle slot"
            assert not any(slot.is_deep for slot in self.slots), "a task is unread beside an idle slot"
