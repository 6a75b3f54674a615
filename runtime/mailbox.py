"""Core: an actor's mailbox: what comes first, what is refused, and which answers are still awaited.

Theory of operation. Everything that a supervisor sends goes through ``accept`` in the order of arrival. System messages
(Stop, Down) wait in a queue of their own and are handed out before any user message, so a Stop overtakes a flood. User
messages (Cast, Call) wait in a queue with a bound: above it a Call is answered with an error and a Cast is dropped and
counted by the shell, never silently. Answers do not queue: each goes to the one open call with its number, and an
answer that nobody awaits any more is stale.

A monitor is open until its first Down: a second one (two supervisors on the way may both send it) is stale, which is
what makes it exactly one.
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from regrow.runtime.errors import CallRefused, CallTimeout, NoSuchActor
from regrow.runtime.spec import ExitReason, ReasonKind
from regrow.runtime.wire import Answer, Call, Cast, Down, Forget, Letter, Monitor, Question, Refusal, Reply, Stop

NO_PROCESS: Final = ExitReason(ReasonKind.NO_PROCESS)
MAILBOX_FULL: Final = "mailbox_full"  # code of the error that answers a call to a full mailbox


@dataclass(frozen=True, slots=True)
class Overflow:
    """A Cast from ``sender`` found the mailbox full."""

    sender: str


@dataclass(frozen=True, slots=True)
class Stale:
    """An answer for ``ref`` that nobody awaits."""

    ref: int


@dataclass(slots=True)
class Mailbox:
    """The mailbox of the actor at ``path``; at most ``bound`` user messages wait in it."""

    path: str
    bound: int
    _system: deque[Stop | Down] = field(default_factory=deque)
    _user: deque[Cast | Call] = field(default_factory=deque)
    _calls: dict[int, Reply | Refusal | None] = field(default_factory=dict)
    _monitors: set[int] = field(default_factory=set)
    _refs: "count[int]" = field(default_factory=lambda: count(1))

    def accept(self, message: Stop | Letter) -> Answer | Overflow | Stale | None:
        """Take a message in; the answer to send at once, or what is wrong with it, or None when all is well."""
        match message:
            case Stop():
                self._system.append(message)
            case Reply() | Refusal():
                return self._accept_answer(message)
            case Down(ref=ref):
                if ref not in self._monitors:
                    return Stale(ref)
                self._monitors.discard(ref)
                self._system.append(message)
            case Forget():
                self._forget(message)
            case Cast() | Call() | Monitor():
                return self._accept_question(message)
        return None

    def _accept_answer(self, answer: Reply | Refusal) -> Stale | None:
        if answer.ref not in self._calls:
            return Stale(answer.ref)
        self._calls[answer.ref] = answer
        return None

    def _accept_question(self, question: Cast | Call | Monitor) -> Answer | Overflow | None:
        if question.to != self.path or isinstance(question, Monitor):
            return undeliverable(question)
        if len(self._user) < self.bound:
            self._user.append(question)
            return None
        if isinstance(question, Call):
            return Refusal(question.sender, question.ref, MAILBOX_FULL, f"the mailbox of {self.path} is full")
        return Overflow(question.sender)

    def _forget(self, forget: Forget) -> None:
        """Its caller has given up: a Call that still waits need not be served."""
        for waiting in self._user:
            if isinstance(waiting, Call) and (waiting.sender, waiting.ref) == (forget.sender, forget.ref):
                self._user.remove(waiting)
                return

    def next_system(self) -> Stop | Down | None:
        """The oldest system message."""
        return self._system.popleft() if self._system else None

    def next_user(self) -> Cast | Call | None:
        """The oldest user message."""
        return self._user.popleft() if self._user else None

    def next(self) -> Stop | Down | Cast | Call | None:
        """The message to handle now: system messages first."""
        return self.next_system() or self.next_user()

    @property
    def is_empty(self) -> bool:
        """Nothing waits to be handled."""
        return not self._system and not self._user

    def open_call(self) -> int:
        """The number of a new call."""
        ref = next(self._refs)
        self._calls[ref] = None
        return ref

    def has_answer(self, ref: int) -> bool:
        """Whether the answer to this open call has come."""
        return self._calls.get(ref) is not None

    def answer(self, ref: int) -> Reply | Refusal | None:
        """The answer to an open call, if it has come; the call is closed by taking it."""
        answer = self._calls[ref]
        if answer is not None:
            del self._calls[ref]
        return answer

    def close_call(self, ref: int) -> None:
        """Its answer is awaited no longer."""
        self._calls.pop(ref, None)

    def open_monitor(self) -> int:
        """The number of a new monitor."""
        ref = next(self._refs)
        self._monitors.add(ref)
        return ref

    def close_monitor(self, ref: int) -> None:
        """Its Down is awaited no longer, also if it already waits in the mailbox."""
        self._monitors.discard(ref)
        self._system = deque(m for m in self._system if not (isinstance(m, Down) and m.ref == ref))


def undeliverable(question: Question) -> Answer | None:
    """What the writer of a question hears when nobody lives at its address."""
    match question:
        case Call(to=to, sender=sender, ref=ref):
            return Refusal(sender, ref, NoSuchActor.code, f"no actor lives at {to}")
        case Monitor(to=to, sender=sender, ref=ref):
            return Down(sender, ref, to, NO_PROCESS)
        case Cast() | Forget():
            return None


def error_of(refusal: Refusal) -> NoSuchActor | CallRefused:
    """The error that a refused call raises."""
    if refusal.code == NoSuchActor.code:
        return NoSuchActor(refusal.text)
    return CallRefused(f"{refusal.code}: {refusal.text}")


def timeout_of(path: str, timeout_s: float) -> CallTimeout:
    """The error of a call that was not answered in time."""
    return CallTimeout(f"{path} did not answer within {timeout_s:g} s")
