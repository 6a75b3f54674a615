"""Shell: a supervisor's socket: what its children say, and the letters that pass through it.

Invariants
    Only the present life of a child is heard: a life is known by an identity that names its incarnation and pid, and
    what any other identity says is dropped and counted. A child writes letters in its own name and in those of actors
    below it, a guest only in the name that it is given here.
    An answer or a Down is not lost to a full queue: it waits here, in order, until that child is heard again.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import msgspec

from regrow.runtime import wire
from regrow.runtime.actor import Context
from regrow.runtime.errors import ProtocolError
from regrow.runtime.events import Event, Tally
from regrow.runtime.link import bind_router
from regrow.runtime.routing import GUEST, Lost, Move, Switchboard, ToBranch, ToParent, ToSelf
from regrow.runtime.spec import ExitReason
from regrow.runtime.wire import (
    Beat,
    Call,
    Cast,
    Down,
    Forget,
    FromChild,
    Hello,
    Letter,
    Monitor,
    Ready,
    Refusal,
    Reply,
    Respecify,
    Show,
    Tell,
    ToChild,
)

Signs = Hello | Ready | Beat | Show | Respecify | Tell
ROOT_SOCKET: Final = "root.sock"
MAX_OWED: Final = 1_000  # answers kept for a child that does not read; more are dropped and counted


OnSign = Callable[[str, Signs | None], None]


@dataclass(slots=True)
class Line:
    """The connection of one life of a child."""

    child: str
    identity: bytes
    is_open: bool = False  # it has said something: it can be spoken to
    owed: deque[bytes] = field(default_factory=deque)


class Exchange:
    """The socket and the switchboard of the supervisor whose ``context`` this is.

    ``on_sign`` is called for every frame of a living child: with a sign that is not a letter, or with None;
    ``before_parent`` before a letter goes up.
    """

    def __init__(
        self, context: Context, address: str, on_sign: OnSign, before_parent: Callable[[], None], *, is_root: bool
    ) -> None:
        self.address = address
        self._context = context
        self._router = bind_router(address)
        self._switchboard = Switchboard(context.path, is_root)
        self._on_sign = on_sign
        self._before_parent = before_parent
        self._by_identity: dict[bytes, Line] = {}
        self._by_child: dict[str, Line] = {}
        self._tally = Tally()
        context.watch(self._router, self.hear)
        context.route_letters(self.route)

    def admit(self, child: str, identity: bytes) -> None:
        """A life of this child has begun."""
        self._by_child[child] = self._by_identity[identity] = Line(child, identity)
        self._switchboard.child_up(child)

    def dismiss(self, child: str, reason: ExitReason) -> None:
        """It has ended: whoever waits for something from it is told."""
        line = self._by_child.pop(child, None)
        if line is not None:
            del self._by_identity[line.identity]
        self._move_all(self._switchboard.child_gone(child, reason))

    def send(self, child: str, message: ToChild) -> bool:
        """To one child; False when it cannot be reached now."""
        line = self._by_child.get(child)
        return line is not None and self._router.send(line.identity, wire.encode(message))

    def route(self, letter: Letter, source: str | None = None) -> None:
        """Pass a letter on; ``source`` is the child or guest that it came from."""
        self._move_all(self._switchboard.route(letter, source))

    def hear(self) -> None:
        """Take in what has arrived."""
        for identity, frame in self._router.receive():
            line = self._by_identity.get(identity)
            try:
                if line is not None:
                    self._hear_child(line, frame)
                else:
                    self._hear_guest(identity, frame)
            except ProtocolError as error:
                self._tally.note(Event.FRAME_DROPPED, problem=str(error))

    def _hear_child(self, line: Line, frame: bytes) -> None:
        message = wire.read_from_child(frame, line.child)
        line.is_open = True
        while line.owed and self._router.send(line.identity, line.owed[0]):
            line.owed.popleft()
        own = f"{self._context.path}/{line.child}"
        if isinstance(message, Tell) and not all(what.path.startswith(f"{own}/") for what in message.happenings):
            raise ProtocolError("it tells of others than those below it", line.child, frame)
        if isinstance(message, Signs):
            self._on_sign(line.child, message)
            return
        self._on_sign(line.child, None)
        writer = writer_of(message)
        if writer is not None and writer != own and not writer.startswith(f"{own}/"):
            raise ProtocolError(f"a letter in the name of {writer}", line.child, frame)
        self.route(message, line.child)

    def _hear_guest(self, identity: bytes, frame: bytes) -> None:
        name = identity.decode("ascii", "replace")
        if not name.startswith(GUEST) or not name[1:].isalnum():
            raise ProtocolError("a stale or unknown sender", repr(identity), frame)
        match wire.read_from_child(frame, name):
            case Call() | Cast() as question:
                sender = f"{self._context.path}/{name}"
                self.route(msgspec.structs.replace(question, sender=sender), name)
            case _:
                raise ProtocolError("a guest may call and cast only", name, frame)

    def _move_all(self, moves: list[Move]) -> None:
        for move in moves:
            match move:
                case ToSelf(letter):
                    self._context.take(letter)
                case ToParent(letter):
                    self._before_parent()
                    self._context.send_up(letter)
                case ToBranch(name, letter):
                    self._send_down(name, letter)
                case Lost(letter):
                    self._tally.note(Event.LETTER_DROPPED, to=letter.to)

    def _send_down(self, name: str, letter: Letter) -> None:
        line = self._by_child.get(name)
        frame = wire.encode(letter)
        identity = name.encode() if line is None else line.identity
        if not (line and line.owed) and self._router.send(identity, frame):
            return
        if line is not None and isinstance(letter, Reply | Refusal | Down) and len(line.owed) < MAX_OWED:
            line.owed.append(frame)
        else:
            self._move_all(self._switchboard.undelivered(name, letter, is_full=line is not None and line.is_open))

    def close(self) -> None:
        """Hear and say no more."""
        self._context.unwatch(self._router)
        self._router.close()


def writer_of(letter: Letter | FromChild) -> str | None:
    """In whose name a question is asked; None for answers, which nobody signs."""
    return letter.sender if isinstance(letter, Cast | Call | Monitor | Forget) else None


def socket_name(path: str, *, is_root: bool) -> str:
    """The file of a supervisor's socket in the run directory; short whatever the path, as socket paths must be."""
    return ROOT_SOCKET if is_root else f"{blake2b(path.encode(), digest_size=6).hexdigest()}.sock"
