"""Core: one slot's process on paper: it reads one call at a time, runs it, answers, and reads the next.

It does what ``actors/executor.py`` does.  Its worker can take back what it has not read, one packet after the other, while it
may be reading itself.
"""

from collections import deque
from functools import partial
from typing import Final, NamedTuple, Protocol

from regrow.actors.packets import Answer, CodeMissing, Ended
from regrow.actors.task import Digest, Failure, FailureKind, WorkerId
from regrow.chaos.simulation.chance import Chance
from regrow.chaos.simulation.clock import Clock
from regrow.chaos.simulation.process import Process
from regrow.chaos.simulation.task_plan import Kind, Life, Run
from regrow.runtime.spec import ExitReason, ReasonKind

READ_S: Final = 20e-6  # between an answer and the next read
SEGV: Final = ExitReason(ReasonKind.SIGNAL, "SIGSEGV")
RAISED: Final = Failure(FailureKind.RAISED, "ValueError", "no", types=("ValueError", "Exception"))
RETRIES: Final = 2  # tries at which a retried task raises


class Call(NamedTuple):
    """One packet for a slot."""

    turn: int
    digest: Digest
    has_code: bool
    life: Life
    attempt: int


class Witness(Protocol):
    """Is told by the tasks themselves."""

    def started(self, life: Life, attempt: int, slot: "SlotProcess") -> Run:
        """A run begins."""
        ...

    def stopped(self, life: Life, run: Run, *, has_returned: bool) -> None:
        """It is over."""
        ...


class Crew(Protocol):
    """The worker that a slot belongs to."""

    worker_id: WorkerId

    def slot_answered(self, slot: "SlotProcess") -> None:
        """There are answers to read."""
        ...


class SlotProcess(Process):
    """One life of one slot."""

    def __init__(self, clock: Clock, name: str, number: int, crew: Crew, witness: Witness, dice: Chance) -> None:
        super().__init__(clock, name)
        self.number = number
        self.crew = crew
        self.answers: deque[tuple[int, Answer]] = deque()
        self.is_ready = False
        self._witness = witness
        self._dice = dice
        self._inbox: deque[Call] = deque()
        self._known: set[Digest] = set()
        self._current: Call | None = None
        self._run: Run | None = None

    def ready(self) -> None:
        """It has started."""
        self.is_ready = True
        self._read()

    def feed(self, call: Call) -> None:
        """A packet is in its socket."""
        self._inbox.append(call)
        if len(self._inbox) == 1 and self._current is None:
            self.hear(self._read)

    def unread(self) -> list[int]:
        """Take back what it has not read.  It may be reading at the same time: then it gets one from the middle."""
        stolen: list[int] = []
        if self._current is None and len(self._inbox) > 1 and not self.is_frozen and self._dice.random() < 0.5:
            stolen.append(self._inbox.popleft().turn)
            self._read()
        stolen += [call.turn for call in self._inbox]
        self._inbox.clear()
        return stolen

    def on_end(self) -> None:
        if self._run is not None and self._current is not None:
            self._witness.stopped(self._current.life, self._run, has_returned=False)

    def _read(self) -> None:
        if not self.is_ready or not self.is_alive:
            return
        while self._current is None and self._inbox:
            call = self._inbox.popleft()
            if call.has_code:
                self._known.add(call.digest)
            if call.digest in self._known:
                self._begin(call)
            else:
                self._answer(call.turn, CodeMissing())

    def _begin(self, call: Call) -> None:
        self._current = call
        self._run = self._witness.started(call.life, call.attempt, self)
        life = call.life
        life.tries += 1
        if life.kind is not Kind.HANGS:
            self.after(life.runs_s, partial(self._finish, call))

    def _finish(self, call: Call) -> None:
        if self._current is not call or self._run is None:
            return
        life, run = call.life, self._run
        if life.kind is Kind.POISON or (life.kind is Kind.FLAKY and life.tries == 1):
            self.end(SEGV)
            return
        raises = life.kind is Kind.RAISES or (life.kind is Kind.RETRIED and life.tries <= RETRIES)
        self._current = self._run = None
        self._witness.stopped(life, run, has_returned=not raises)
        value = None if raises else f"{life.number}/{run.attempt}/{run.worker}".encode()
        self._answer(call.turn, Ended(value, RAISED if raises else None, life.runs_s))
        if self._inbox:
            self.after(READ_S, self._read)

    def _answer(self, turn: int, answer: Answer) -> None:
        self.answers.append((turn, answer))
        self.clock.after(READ_S * self._dice.random(), partial(self.crew.slot_answered, self))
