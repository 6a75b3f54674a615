"""Core: how a supervisor passes letters on, and how it answers for children that have died.

Theory of operation. An address is a path; a path names its own route. A letter that is not for this supervisor goes
down to the child whose path its address begins with, or else up. Before a Call or a Monitor goes down, the supervisor
writes down who waits for what from which child; the answer, coming back up the same way, crosses the entry out. When
a child's process has ended, whoever still waits for anything from it, or from below it, is told: a Call is refused, a
Monitor is answered with the Down. So a call never waits for the dead, and no part of a tree needs to know who else is
in it.

Two supervisors on one way may both tell of a death (a branch and its leaf die together): the reader takes the first and
finds the other stale. Guests, which come from outside the tree, are addressed like children, but nobody waits for them.
"""

from dataclasses import dataclass, field
from typing import Final

from regrow.runtime.errors import NoSuchActor
from regrow.runtime.mailbox import MAILBOX_FULL, undeliverable
from regrow.runtime.spec import ExitReason
from regrow.runtime.wire import Answer, Call, Down, Forget, Letter, Monitor, Refusal, Reply

GUEST: Final = "@"  # first letter of a guest's name; no child id can have it


@dataclass(frozen=True, slots=True)
class ToSelf:
    """For this supervisor's own mailbox."""

    letter: Letter


@dataclass(frozen=True, slots=True)
class ToParent:
    """One step up."""

    letter: Letter


@dataclass(frozen=True, slots=True)
class ToBranch:
    """One step down, to the child or guest ``name``."""

    name: str
    letter: Letter


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody lives there, and nobody waits for an answer."""

    letter: Letter


Move = ToSelf | ToParent | ToBranch | Lost


@dataclass(slots=True)
class Switchboard:
    """The routes through the supervisor at ``path``; the tree ends above it when it is the root."""

    path: str
    is_root: bool
    _waiting: dict[str, dict[tuple[str, int], Call | Monitor]] = field(
        default_factory=dict
    )  # by child, by (writer, ref)

    def child_up(self, child: str) -> None:
        """A process of this child has been started: letters may go to it."""
        self._waiting.setdefault(child, {})

    def child_gone(self, child: str, reason: ExitReason) -> list[Move]:
        """Its process has ended: answer all who wait for something from it."""
        waiting = self._waiting.pop(child, {})
        moves = [move for question in waiting.values() for move in self.route(_obituary(question, reason))]
        return moves + self._forget_writer(f"{self.path}/{child}")

    def route(self, letter: Letter, source: str | None = None) -> list[Move]:
        """Where a letter goes. ``source``: the child or guest that it came from, None when from above or from here."""
        if source is not None and isinstance(letter, Reply | Refusal | Down):
            self._waiting.get(source, {}).pop((letter.to, letter.ref), None)
        if letter.to == self.path:
            return self._arrive(letter)
        if not letter.to.startswith(f"{self.path}/"):
            return self._return(letter) if self.is_root else [ToParent(letter)]
        name = letter.to.removeprefix(f"{self.path}/").partition("/")[0]
        if name.startswith(GUEST):
            return [ToBranch(name, letter)]
        if name not in self._waiting:
            return self._return(letter)
        return self._descend(name, letter)

    def _arrive(self, letter: Letter) -> list[Move]:
        """At this supervisor itself, which lives: whoever monitors it is told by its parent, or (the root) by nobody."""
        if isinstance(letter, Monitor):
            return []
        return [ToSelf(letter)]

    def _descend(self, name: str, letter: Letter) -> list[Move]:
        waiting = self._waiting[name]
        match letter:
            case Call(sender=sender, ref=ref) | Monitor(sender=sender, ref=ref):
                waiting[sender, ref] = letter
            case Forget(sender=sender, ref=ref):
                forgotten = waiting.pop((sender, ref), None)
                return [] if forgotten is None or self._ends_here(forgotten, name) else [ToBranch(name, letter)]
        return [] if self._ends_here(letter, name) else [ToBranch(name, letter)]

    def _ends_here(self, letter: Letter, name: str) -> bool:
        """A Monitor is kept by the supervisor of its target; the target itself need not know."""
        return isinstance(letter, Monitor) and letter.to == f"{self.path}/{name}"

    def undelivered(self, name: str, letter: Letter, *, is_full: bool) -> list[Move]:
        """The letter could not be handed on: the child or guest has no connection (yet), or its queue ``is_full``."""
        if isinstance(letter, Call | Monitor):
            self._waiting.get(name, {}).pop((letter.sender, letter.ref), None)
        if is_full and isinstance(letter, Call):
            text = f"the mailbox of {letter.to} is full"
            return self.route(Refusal(letter.sender, letter.ref, MAILBOX_FULL, text))
        return self._return(letter)

    def _return(self, letter: Letter) -> list[Move]:
        """Nobody lives at its address."""
        if isinstance(letter, Reply | Refusal | Down):
            return [Lost(letter)]
        if isinstance(letter, Forget):
            return []
        answer = undeliverable(letter)
        return [Lost(letter)] if answer is None else self.route(answer)

    def _forget_writer(self, path: str) -> list[Move]:
        """A writer has died: those below need not keep what it waited for."""
        dead = [
            (child, key, question)
            for child, waiting in self._waiting.items()
            for key, question in waiting.items()
            if key[0] == path or key[0].startswith(f"{path}/")
        ]
        for child, key, _ in dead:
            del self._waiting[child][key]
        return [
            ToBranch(child, Forget(question.to, question.sender, question.ref))
            for child, _, question in dead
            if not self._ends_here(question, child)
        ]


def _obituary(question: Call | Monitor, reason: ExitReason) -> Answer:
    """What the writer of a question hears when the one asked has ended."""
    if isinstance(question, Call):
        text = f"{question.to} ended ({reason}) before it answered"
        return Refusal(question.sender, question.ref, NoSuchActor.code, text)
    return Down(question.sender, question.ref, question.to, reason)
