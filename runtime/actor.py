"""Shell: what an actor is, and what it can ask of its surroundings.

An actor is one process with one mailbox and one thread. Its methods are called one at a time, from its own loop: it
never locks anything. What it raises ends it, and its supervisor decides what then; only a RegrowError raised while it
answers a call goes to the caller instead.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

import msgspec

from regrow.runtime.desk import Caller
from regrow.runtime.link import Readable
from regrow.runtime.loop import Callback, Timer
from regrow.runtime.spec import ExitReason
from regrow.runtime.tree import Happening, TreeNode
from regrow.runtime.wire import Down, Letter

if TYPE_CHECKING:
    from regrow.runtime.host import Host

ArgumentsT = TypeVar("ArgumentsT", bound=msgspec.Struct)
MessageT = TypeVar("MessageT")
ReplyT = TypeVar("ReplyT")

__all__ = ["Actor", "Context", "Down", "NoArguments", "Timer", "run_alone"]


class NoArguments(msgspec.Struct, frozen=True):
    """For actors that are told nothing."""


class Actor(Generic[ArgumentsT, MessageT]):
    """Base of all actors that run in a loop of callbacks."""

    arguments_type: ClassVar[type[msgspec.Struct]] = NoArguments
    message_type: ClassVar[type | UnionType | None] = None  # a closed union of Structs; None: it takes no messages
    role: ClassVar[str] = "actor"  # in pictures of the tree
    signals: ClassVar[tuple[int, ...]] = ()  # taken besides SIGTERM and SIGINT, which ask for a stop
    mailbox_size: ClassVar[int] = 1000  # user messages that may wait

    def __init__(self, arguments: ArgumentsT, context: "Context") -> None:
        """Keep what it is told; no I/O yet."""
        self.arguments = arguments
        self.context = context

    def on_start(self) -> None:
        """Init. Once it has returned the start is acknowledged, unless it called ``context.defer_ready()``."""

    def on_message(self, message: MessageT, sender: str) -> object | None:
        """A cast, or a call: then the Struct returned is the answer."""
        raise NotImplementedError(f"{type(self).__name__} takes no messages")

    def on_down(self, down: Down) -> None:
        """An actor that was monitored has ended."""

    def on_signal(self, number: int) -> None:
        """One of ``signals`` has arrived."""

    def on_beat(self) -> None:
        """A beat has just gone to the supervisor: the moment for whatever else is to be told regularly.  Never called alone."""

    def on_gap(self, gap_s: float) -> None:
        """This process was suspended for about ``gap_s`` seconds; called before anything that has arrived meanwhile."""

    def on_stop(self, grace_s: float | None) -> None:  # noqa: ARG002 (for those who override it)
        """It was asked to end: call ``context.exit()``, now or when it has finished what it is at."""
        self.context.exit()

    def on_end(self) -> None:
        """The last call, whatever the reason: release things."""


class Context:
    """An actor's surroundings. Paths are absolute: ``root/workers/worker-0``. Times are seconds."""

    def __init__(self, host: "Host") -> None:
        self._host = host
        self.path: str = host.start.path
        self.name: str = self.path.rpartition("/")[2]
        self.incarnation: int = host.start.incarnation
        self.tree: str = host.start.tree  # a random name of the root's run, "" alone
        self.run_directory = Path(host.start.run_directory)  # private to this tree; short enough for socket files

    def now(self) -> float:
        """Monotonic seconds."""
        return self._host.loop.now()

    def watch(self, readable: Readable, callback: Callback) -> None:
        """Call back whenever the Router, Dealer, descriptor or file is readable."""
        self._host.loop.watch(readable, callback)

    def unwatch(self, readable: Readable) -> None:
        """Undo ``watch``; before it is closed."""
        self._host.loop.unwatch(readable)

    def after(self, delay_s: float, callback: Callback) -> Timer:
        """Call back once."""
        return self._host.loop.after(delay_s, callback)

    def waker(self, callback: Callback) -> Callback:
        """A function for other threads: calling it makes this loop call ``callback``; many calls may become one."""
        return self._host.loop.waker(callback)

    def cast(self, path: str, message: msgspec.Struct) -> None:
        """Send, and hear nothing of it; a message to the dead is dropped."""
        self._host.cast(path, message)

    @overload
    def call(self, path: str, message: msgspec.Struct, timeout_s: float) -> Any: ...
    @overload
    def call(self, path: str, message: msgspec.Struct, timeout_s: float, reply_type: type[ReplyT]) -> ReplyT: ...
    def call(self, path: str, message: msgspec.Struct, timeout_s: float, reply_type: Any = Any) -> Any:
        """Send and wait for the answer. Beats go on meanwhile; timers, sockets and other mail wait.

        Raises NoSuchActor at once when the target is dead or dies meanwhile, CallTimeout, CallRefused with the target's
        error, ProtocolError when the answer is not a ``reply_type``.
        """
        return self._host.call(path, message, timeout_s, reply_type)

    def monitor(self, path: str) -> int:
        """Have ``on_down`` called exactly once when that actor ends, or soon if it is dead already; the Down's ``ref``."""
        return self._host.monitor(path)

    def demonitor(self, ref: int) -> None:
        """``on_down`` will not be called for this monitor any more."""
        self._host.demonitor(ref)

    def defer_ready(self) -> None:
        """In ``on_start``: its return is not the end of the init, ``ready()`` will be."""
        self._host.is_ready_deferred = True

    def ready(self) -> None:
        """The init is done: acknowledge the start."""
        self._host.acknowledge_start()

    def defer_answer(self) -> Caller | None:
        """In ``on_message``: the return value is not the answer, ``answer()`` or ``refuse()`` will be.  None: a cast."""
        return self._host.defer_answer()

    def answer(self, caller: Caller | None, reply: msgspec.Struct | None) -> None:
        """The answer to a deferred call."""
        if caller is not None:
            self._host.answer(caller, reply)

    def refuse(self, caller: Caller | None, code: str, text: str) -> None:
        """The error that answers a deferred call."""
        if caller is not None:
            self._host.refuse(caller, code, text)

    def exit(self, reason: ExitReason | None = None) -> None:
        """End once this callback has returned. ``None``: ``shutdown`` if a stop was asked for, else ``normal``."""
        self._host.exit(reason)

    def annotate(self, **facts: str) -> None:
        """Show small texts with this actor in pictures of the tree; they add to those shown before."""
        self._host.annotate(facts)

    def show_children(self, children: list[TreeNode]) -> None:
        """Show these nodes below this actor in pictures of the tree."""
        self._host.show_children(tuple(children))

    def tell(self, happenings: Sequence[Happening]) -> None:
        """Let supervisors above, and whoever follows them, know what has happened below this actor."""
        self._host.tell(happenings)

    def respecify(self, arguments: msgspec.Struct) -> None:
        """Ask to be started with these arguments, in place of the present ones, after a restart."""
        self._host.respecify(arguments)

    def route_letters(self, route: Callable[[Letter], None]) -> None:
        """For supervisors: every letter from above or from here goes to ``route`` first."""
        self._host.route = route

    def take(self, letter: Letter) -> None:
        """For supervisors: put a letter into this actor's own mailbox."""
        self._host.take(letter)

    def send_up(self, letter: Letter) -> None:
        """For supervisors: hand a letter to the parent."""
        self._host.send_up(letter)


def run_alone(actor_class: type[Actor[Any, Any]], arguments: msgspec.Struct | None, name: str) -> int:
    """Run one actor in this process, without a supervisor, until SIGTERM or SIGINT; the exit code.

    It can be sent nothing, and finds nobody at any path.  Main thread only.  Raises ConfigError if that is why it
    ended.
    """
    from regrow.runtime.host import exit_code, run_by_itself

    return exit_code(run_by_itself(actor_class, arguments, name))
