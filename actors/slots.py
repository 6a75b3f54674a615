"""Core: a worker's slots, the tasks in them, and the outcomes that wait for an acknowledgement.

Theory of operation. A task is *held* from ``accept`` until its outcome exists, it is given back, or it is dropped. It
is always in exactly one place::

    accept ─▶ parked (its function is on the way) ─learn─▶ waiting ─Feed─▶ fed to one slot ─ended─▶ unacknowledged
                │                                           │  ▲              │                          │
                └────────────▶ given back ◀── recall ───────┘  └─ stolen, ────┤                     acknowledge
                                                        code missing          └─exited─▶ unacknowledged (crashed)

A slot runs one task at a time and answers before it reads the next. So of what it was fed at most one task has been
started and is unanswered; everything else either has an answer in the pipe or can be stolen back. That is why a death
costs one task an attempt, and not a window of them.

*Work ahead.* A round trip per task would leave a slot idle between two short ones, so tasks whose function is known to
be quick are fed behind one another, up to AHEAD_S of expected work. Everything else waits here for an idle slot. When a
slot is idle and nothing waits, the slot with the most unread tasks is stolen from: no task sits behind a busy slot
beside an idle one. While a steal is under way nothing is fed, so what comes back is spread evenly.

*Full*. When too much waits to be acknowledged (``kept``), nothing is fed until some of it is.

*Functions* travel with the first call that needs them. A steal takes packets one by one, from the front, while the slot
may be reading: it can take the call with the function and leave the next one to the slot. So what a slot knows is only
estimated here, and a slot that lacks a function answers that instead of running the call. Such a call has not started: it
is put back in front, and fed again with its function.

*Recall* takes the newest unstarted tasks, after stealing, so that "unstarted" is exact. Draining is a recall of all.
*Abandon* steals nothing back: what was fed to a slot may be running elsewhere, so the slot is killed, without an outcome.
"""

from collections.abc import Iterator

from regrow.actors.effects import Death, Deliver, Effect, GiveBack, GiveUp, Kill, Spawn
from regrow.actors.feeding import Feeding
from regrow.actors.output import Printed
from regrow.actors.packets import Answer, CodeMissing, Ended
from regrow.actors.slot import AHEAD_TASKS, Job, Key, Phase, Sentence, Slot, Starts
from regrow.actors.task import Digest, Failure, FailureKind, Outcome
from regrow.actors.wire import Lease, TaskToRun

Answers = list[tuple[int, Answer]]  # by turn, in the order in which the slot gave them


class Slots(Feeding):
    """Folds what happens to the slots and their tasks; every method returns what to do, in order."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._starts = Starts()

    # What a worker asks.

    def busy(self) -> list[int]:
        """The numbers of slots at work."""
        return [number for number, slot in enumerate(self.slots) if slot.fed]

    def is_starting(self, number: int) -> bool:
        """Is it still to say that it is ready?"""
        return self.slots[number].phase is Phase.STARTING

    def capacity(self) -> int:
        """How many tasks it is willing to hold at once, started or not: what its ready slots can be fed."""
        return 0 if self.is_draining else AHEAD_TASKS * sum(slot.phase is Phase.READY for slot in self.slots)

    def running(self) -> Iterator[tuple[int, Job]]:
        """The slots at work, and what each is at (or is about to read)."""
        for number, slot in enumerate(self.slots):
            _, job = slot.front()
            if job is not None and slot.phase is Phase.READY:
                yield number, job

    def is_empty(self) -> bool:
        """Nothing held and every outcome acknowledged: a drained worker may go."""
        return not self.held and not self.unacknowledged

    # What the dispatcher says.

    def accept(self, tasks: list[TaskToRun]) -> list[Effect]:
        """New tasks, in this order. One that is held already is the same task sent twice."""
        known: list[Outcome] = []
        fresh: dict[Key, Job] = {}
        for task in tasks:
            key = task.task_id, task.attempt
            if (outcome := self.unacknowledged.get(key)) is not None:
                known.append(outcome)
            elif key not in self.held and key not in fresh:
                fresh[key] = Job(task)
        news = list(fresh.values())
        effects: list[Effect] = [Deliver(outcome) for outcome in known]
        if self.is_draining:
            return [*effects, GiveBack([job.lease for job in news])] if news else effects
        self.held.update(fresh)
        self._note_bounds(news)
        return effects + self._ask(self._backlog.add(news)) + self._spread()

    def learn(self, functions: dict[Digest, bytes | None]) -> list[Effect]:
        """Functions have come; ``None`` says that the store has no such function any more."""
        failure = Failure(FailureKind.UNLOADABLE, "MissingFunction", "the store no longer has this function's bytes")
        orphans = [job for digest, code in functions.items() for job in self._backlog.learn(digest, code)]
        return [self._end(job, Ended(None, failure, 0.0)) for job in orphans] + self._spread()

    def acknowledge(self, leases: list[Lease]) -> list[Effect]:
        """The store has these outcomes."""
        was_full = self.unacknowledged.is_full
        for lease in leases:
            self.unacknowledged.forget((lease.task_id, lease.attempt))
        return self._spread() if was_full else []

    def recall(self, count: int) -> list[Effect]:
        """Give back up to ``count`` unstarted tasks, the newest first."""
        self._recalled = max(self._recalled, count)
        deep = [number for number, slot in enumerate(self.slots) if slot.is_deep]
        if deep and len(self._backlog) < count:
            return [self._steal(number) for number in deep]
        return self._spread()

    def drop(self, leases: list[Lease]) -> list[Effect]:
        """These leases belong to somebody else: forget their outcomes, and kill what runs under them."""
        for lease in leases:
            key = lease.task_id, lease.attempt
            self.unacknowledged.forget(key)
            if (job := self.held.pop(key, None)) is not None:
                job.is_dropped = True
        self._backlog.sweep()
        stained = [number for number, slot in enumerate(self.slots) if slot.phase is Phase.READY and slot.has_dropped()]
        return [self._steal(number) for number in stained]

    def abandon(self) -> list[Effect]:
        """All of it belongs to somebody else by now: forget every task and outcome, and kill each slot that was fed."""
        for job in self.held.values():
            job.is_dropped = True
        self.held.clear()
        self.unacknowledged.forget_all()
        self._backlog.sweep()
        self._recalled = 0
        return [
            kill for number, slot in enumerate(self.slots) if slot.fed for kill in self.condemn(number, "abandoned")
        ]

    def shed(self, lease: Lease, failure: Failure) -> list[Effect]:
        """End this attempt with this failure, if a slot is at it: others need its memory."""
        for number, job in self.running():
            if job.lease == lease:
                turn, _ = self.slots[number].front()
                return self.sentence(number, turn, failure, 0.0, is_victim=True)
        return []

    def drain(self) -> list[Effect]:
        """Start nothing more, and give back everything unstarted."""
        self.is_draining = True
        return self.recall(len(self.held))

    def resume(self) -> list[Effect]:
        """A dispatcher has welcomed this worker (again): tell and ask what the former one may not have heard."""
        effects: list[Effect] = [Deliver(outcome) for outcome in self.unacknowledged.values()]
        return effects + self._ask(self._backlog.missing())

    # What the slots do.

    def start(self) -> list[Effect]:
        """Bring every slot up."""
        return [Spawn(number, 0.0) for number in range(len(self.slots))]

    def ready(self, number: int) -> list[Effect]:
        """A slot's process has started."""
        slot = self.slots[number]
        if slot.phase is not Phase.STARTING:
            return self.condemn(number, "it said twice that it was ready")
        slot.phase = Phase.READY
        self._idle[number] = None
        self._starts.has_succeeded = True
        return self._spread()

    def ended(self, number: int, answers: Answers) -> list[Effect]:
        """A slot has answered; turns end in the order in which they were fed."""
        return self._fold(number, answers, []) + self._spread()

    def stolen(self, number: int, unread: list[int], answers: Answers) -> list[Effect]:
        """What a steal brought back, and what the slot had answered by then."""
        self._stealing.discard(number)
        slot = self.slots[number]
        effects = self._fold(number, answers, unread)
        slot.is_dry = not unread
        if slot.has_dropped():
            effects += self.condemn(number, "its task was taken away")
        elif slot.is_sentenced():
            effects += self.condemn(number, "its task was over a limit")
        return effects + self._spread()

    def condemn(self, number: int, verdict: str) -> list[Effect]:
        """Kill a slot; what it runs ends as crashed, for the reason of ``verdict``."""
        slot = self.slots[number]
        if slot.phase is Phase.ENDING:
            return []
        slot.phase, slot.verdict = Phase.ENDING, verdict
        self._idle.pop(number, None)
        return [Kill(number)]

    def exited(self, number: int, unread: list[int], answers: Answers, death: Death) -> list[Effect]:
        """A slot's process is gone: what it did not read runs elsewhere, what it was at is a crash."""
        slot = self.slots[number]
        slot.phase = Phase.ENDING
        self._stealing.discard(number)
        self._idle.pop(number, None)
        effects = self._fold(number, answers, unread)
        effects += [
            self._end(job, slot.last_word(turn, death), death.printed, is_victim=slot.is_victim(turn, death))
            for turn, job in slot.fed.items()
            if not job.is_dropped
        ]
        return effects + self._replace(number, death) + self._spread()

    # What their tasks use, and how long they take.

    def printed(self, number: int, turns: dict[int, Printed]) -> None:
        """What these turns, whose answers are to be told next, have printed."""
        for turn, printed in turns.items():
            if (job := self.slots[number].fed.get(turn)) is not None:
                job.printed = printed

    def expire(self, late: list[Job]) -> list[Effect]:
        """Their deadline has come: they end, if they have not started; first what their slots have not read is stolen back."""
        for job in late:
            job.is_late = self._has_late = True
        unread = [number for number, slot in enumerate(self.slots) if slot.is_deep and slot.has_late()]
        return [self._steal(number) for number in unread] or self._spread()

    def sentence(
        self, number: int, turn: int, failure: Failure, ran_s: float, *, is_victim: bool = False
    ) -> list[Effect]:
        """This turn is over, after ``ran_s``: kill its slot, when nothing that can start in it is left there."""
        self.slots[number].sentence = Sentence(turn, failure, ran_s, is_victim)
        return [self._steal(number)]

    # Inside.

    def _note_bounds(self, news: list[Job]) -> None:
        for job in news:
            if job.is_bounded:
                self.has_bounds = True
                job.is_late = job.deadline_s == 0
                self._has_late |= job.is_late

    def _replace(self, number: int, death: Death) -> list[Effect]:
        self._starts.note_death(self.slots[number].has_worked)
        self.slots[number] = Slot()
        delay_s = self._starts.delay_s()
        if delay_s is None:
            note = f"{self._starts.failed} slot processes in a row ended before they were ready ({death.reason})"
            return [GiveUp(f"{note}\n{death.output}".rstrip())]
        if self.is_draining and not self.held:
            self.slots[number].phase = Phase.STOPPED
            return []
        return [Spawn(number, delay_s)]

    def _fold(self, number: int, answers: Answers, unread: list[int]) -> list[Effect]:
        """Put back what a slot has not read and what it could not run, and turn its answers into outcomes."""
        effects: list[Effect] = []
        slot = self.slots[number]
        unstarted = slot.take_back(unread)
        for turn, answer in answers:
            if verdict := slot.protest(turn, answer):
                effects += self.condemn(number, verdict)
                break
            job = slot.release(turn)
            if isinstance(answer, CodeMissing):
                slot.known.clear()
                unstarted[turn] = job
            elif not job.is_dropped:
                effects.append(self._end(job, answer))
        jobs = [unstarted[turn] for turn in sorted(unstarted)]
        self._backlog.put_back([job for job in jobs if not job.is_dropped])
        self._has_late |= any(job.is_late for job in jobs)
        if answers:
            slot.is_dry = False
            self._starts.failed = 0
        if slot.is_idle:
            self._idle[number] = None
        return effects
