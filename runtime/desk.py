"""Shell: an actor's correspondence with its supervisor, whichever loop the actor runs in.

Host (callbacks) and AsyncHost (asyncio) are desks with a loop: they differ in how they wait, in nothing that is said.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from regrow.runtime import events, mailbox, wire
from regrow.runtime.errors import ProtocolError, RegrowError
from regrow.runtime.events import Event
from regrow.runtime.link import Dealer
from regrow.runtime.mailbox import Mailbox, Overflow, Stale, error_of, undeliverable
from regrow.runtime.process import Start
from regrow.runtime.spec import ExitReason, ReasonKind
from regrow.runtime.tree import Happening, TreeNode
from regrow.runtime.wire import Call, Cast, Forget, Letter, Monitor, Question, Refusal, Reply, Stop

LAST_WORDS_S: Final = 0.5  # answers given just before the end may take this long to leave


class Caller(msgspec.Struct, frozen=True):
    """Who waits for a deferred answer."""

    path: str
    ref: int


class Desk(ABC):
    """Everything between an actor and its supervisor; ``dealer`` leads there, None: the actor is alone."""

    def __init__(self, message_type: Any, mailbox_size: int, start: Start, dealer: Dealer | None) -> None:
        self.start = start
        self.route: Callable[[Letter], None] | None = None  # a supervisor's switchboard
        self.is_ready_deferred = False
        self._dealer = dealer
        self._mailbox = Mailbox(start.path, mailbox_size)
        self._tally = events.Tally()
        self._decoder = None if message_type is None else msgspec.msgpack.Decoder(message_type)
        self._monitored: dict[int, str] = {}
        self._current: Call | None = None
        self._is_stopping = False
        self._facts: dict[str, str] = {}
        self._children: tuple[TreeNode, ...] = ()
        self._is_show_due = False

    @abstractmethod
    def _soon(self, callback: Callable[[], None]) -> None:
        """Have the loop call back when it has done what it is at."""

    @abstractmethod
    def exit(self, reason: ExitReason | None) -> None:
        """End; the first reason counts. ``None``: ``shutdown`` if a stop was asked for, else ``normal``."""

    def _reason(self, reason: ExitReason | None) -> ExitReason:
        return reason or ExitReason(ReasonKind.SHUTDOWN if self._is_stopping else ReasonKind.NORMAL)

    # -- signs of life -----------------------------------------------------------------------------------------------

    def _send(self, message: wire.FromChild) -> bool:
        return self._dealer is not None and self._dealer.send(wire.encode(message))

    def acknowledge_start(self) -> None:
        """Say that the init is done."""
        self._send(wire.Ready())

    def annotate(self, facts: dict[str, str]) -> None:
        """Add to what is shown."""
        if facts.items() - self._facts.items():
            self._facts |= facts
            self._show_soon()

    def show_children(self, children: tuple[TreeNode, ...]) -> None:
        """Replace the children that are shown."""
        if children != self._children:
            self._children = children
            self._show_soon()

    def _show_soon(self) -> None:
        """Many changes become one message."""
        if not self._is_show_due:
            self._is_show_due = True
            self._soon(self._show_now)

    def _show_now(self) -> None:
        if self._is_show_due:
            self._is_show_due = False
            self._send(wire.Show(self._children, self._facts))

    def respecify(self, arguments: msgspec.Struct) -> None:
        """Ask to be started with other arguments next time."""
        self._send(wire.Respecify(msgspec.msgpack.encode(arguments)))

    def tell(self, happenings: Sequence[Happening]) -> None:
        """Let the parent know what has happened below."""
        self._send(wire.Tell(tuple(happenings)))

    # -- letters in --------------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """Take in what the supervisor has sent."""
        for frame in [] if self._dealer is None else self._dealer.receive():
            try:
                message = wire.read_to_child(frame)
            except ProtocolError as error:
                self._tally.note(Event.FRAME_DROPPED, problem=str(error))
                continue
            if isinstance(message, Stop) or self.route is None:
                self.take(message)
            else:
                self.route(message)

    def take(self, message: Stop | Letter) -> None:
        """Into the mailbox; what it will not have is answered or counted."""
        match self._mailbox.accept(message):
            case Overflow(sender):
                self._tally.note(Event.MAILBOX_FULL, sender=sender)
            case Stale() | None:
                pass
            case Refusal(code=mailbox.MAILBOX_FULL) as refusal:
                self._tally.note(Event.MAILBOX_FULL, sender=refusal.to)
                self.post(refusal)
            case answer:
                self.post(answer)

    def _decode(self, message: Cast | Call) -> Any:
        """The user message inside.  Raises ProtocolError."""
        if self._decoder is None:
            raise ProtocolError(f"{self.start.path} takes no messages", message.sender, message.body)
        return wire.read(self._decoder, message.body, message.sender)

    def _take_back(self, message: Cast | Call, caller: Caller | None, error: RegrowError) -> None:
        """User code, or the decoding before it, raised on purpose: a caller hears it.

        For a cast nobody does, so the error goes on and is fatal, unless it was the message that was bad.
        """
        if isinstance(error, ProtocolError):
            self._tally.note(Event.FRAME_DROPPED, problem=str(error))
        if caller is not None:
            self.refuse(caller, error.code, str(error))
        elif isinstance(message, Cast) and not isinstance(error, ProtocolError):
            raise error

    # -- letters out -------------------------------------------------------------------------------------------------

    def post(self, letter: Letter) -> None:
        """On its way: through the own switchboard if this is a supervisor, else up."""
        if self.route is not None:
            self.route(letter)
        else:
            self.send_up(letter)

    def send_up(self, letter: Letter) -> None:
        """To the parent, after what is to be shown; a question that cannot leave is answered here."""
        self._show_now()
        if self._send(letter):
            return
        answer = undeliverable(letter) if isinstance(letter, Question) else None
        if answer is not None:
            self.take(answer)
        else:
            self._tally.note(Event.LETTER_DROPPED, to=letter.to)

    def cast(self, path: str, message: msgspec.Struct) -> None:
        """A Cast on its way."""
        self.post(Cast(path, self.start.path, msgspec.msgpack.encode(message)))

    def _begin_call(self, path: str, message: msgspec.Struct) -> int:
        ref = self._mailbox.open_call()
        self.post(Call(path, self.start.path, ref, msgspec.msgpack.encode(message)))
        return ref

    def _abandon_call(self, path: str, ref: int) -> None:
        self._mailbox.close_call(ref)
        self.post(Forget(path, self.start.path, ref))

    def monitor(self, path: str) -> int:
        """A Monitor on its way."""
        ref = self._mailbox.open_monitor()
        self._monitored[ref] = path
        self.post(Monitor(path, self.start.path, ref))
        return ref

    def demonitor(self, ref: int) -> None:
        """Take a Monitor back."""
        self._mailbox.close_monitor(ref)
        path = self._monitored.pop(ref, None)
        if path is not None:
            self.post(Forget(path, self.start.path, ref))

    def answer(self, caller: Caller, reply: object | None) -> None:
        """A Reply on its way."""
        self.post(Reply(caller.path, caller.ref, msgspec.msgpack.encode(reply)))

    def refuse(self, caller: Caller, code: str, text: str) -> None:
        """A Refusal on its way."""
        self.post(Refusal(caller.path, caller.ref, code, text))


def content(answer: Reply | Refusal, reply_type: Any, path: str) -> Any:
    """What a call returns or raises for this answer from ``path``."""
    if isinstance(answer, Refusal):
        raise error_of(answer)
    return wire.read(msgspec.msgpack.Decoder(reply_type), answer.body, path)
