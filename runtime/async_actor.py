"""Shell: an actor that runs in asyncio: the same life, the same letters, the same beats, from the event loop.

User messages are handled one at a time, in order; a Stop or a Down is not kept waiting by one that awaits something.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, overload

import msgspec

from regrow.runtime.actor import ArgumentsT, MessageT, NoArguments, ReplyT
from regrow.runtime.spec import ExitReason
from regrow.runtime.tree import TreeNode
from regrow.runtime.wire import Down

if TYPE_CHECKING:
    from regrow.runtime.async_host import AsyncHost


class AsyncActor(Generic[ArgumentsT, MessageT]):
    """Base of all actors that run in asyncio; see Actor for what each method is for."""

    arguments_type: ClassVar[type[msgspec.Struct]] = NoArguments
    message_type: ClassVar[type | UnionType | None] = None
    role: ClassVar[str] = "actor"
    mailbox_size: ClassVar[int] = 1000
    loop_factory: ClassVar[Callable[[], asyncio.AbstractEventLoop]] = asyncio.new_event_loop

    def __init__(self, arguments: ArgumentsT, context: "AsyncContext") -> None:
        """Keep what it is told; no I/O yet."""
        self.arguments = arguments
        self.context = context

    async def on_start(self) -> None:
        """Init."""

    async def on_message(self, message: MessageT, sender: str) -> object | None:
        """A cast, or a call: then the Struct returned is the answer."""
        raise NotImplementedError(f"{type(self).__name__} takes no messages")

    async def on_down(self, down: Down) -> None:
        """An actor that was monitored has ended."""

    async def on_stop(self, grace_s: float | None) -> None:  # noqa: ARG002 (for those who override it)
        """It was asked to end."""
        self.context.exit()

    async def on_end(self) -> None:
        """The last call, whatever the reason."""


class AsyncContext:
    """An async actor's surroundings; see Context."""

    def __init__(self, host: "AsyncHost") -> None:
        self._host = host
        self.path: str = host.start.path
        self.name: str = self.path.rpartition("/")[2]
        self.incarnation: int = host.start.incarnation
        self.tree: str = host.start.tree
        self.run_directory = Path(host.start.run_directory)

    def now(self) -> float:
        """Monotonic seconds."""
        return asyncio.get_running_loop().time()

    def cast(self, path: str, message: msgspec.Struct) -> None:
        """Send, and hear nothing of it."""
        self._host.cast(path, message)

    @overload
    async def call(self, path: str, message: msgspec.Struct, timeout_s: float) -> Any: ...
    @overload
    async def call(self, path: str, message: msgspec.Struct, timeout_s: float, reply_type: type[ReplyT]) -> ReplyT: ...
    async def call(self, path: str, message: msgspec.Struct, timeout_s: float, reply_type: Any = Any) -> Any:
        """Send and await the answer.  Raises NoSuchActor, CallTimeout, CallRefused, ProtocolError."""
        return await self._host.call(path, message, timeout_s, reply_type)

    def monitor(self, path: str) -> int:
        """Have ``on_down`` called exactly once; the Down's ``ref``."""
        return self._host.monitor(path)

    def demonitor(self, ref: int) -> None:
        """``on_down`` will not be called for this monitor any more."""
        self._host.demonitor(ref)

    def defer_ready(self) -> None:
        """In ``on_start``: its return is not the end of the init, ``ready()`` will be."""
        self._host.is_ready_deferred = True

    def ready(self) -> None:
        """The init is done."""
        self._host.acknowledge_start()

    def exit(self, reason: ExitReason | None = None) -> None:
        """End. ``None``: ``shutdown`` if a stop was asked for, else ``normal``."""
        self._host.exit(reason)

    def annotate(self, **facts: str) -> None:
        """Show small texts with this actor in pictures of the tree."""
        self._host.annotate(facts)

    def show_children(self, children: list[TreeNode]) -> None:
        """Show these nodes below this actor in pictures of the tree."""
        self._host.show_children(tuple(children))


def run_alone(actor_class: type[AsyncActor[Any, Any]], arguments: msgspec.Struct | None, name: str) -> int:
    """As ``actor.run_alone``, for an AsyncActor."""
    from regrow.runtime.host import exit_code, run_by_itself

    return exit_code(run_by_itself(actor_class, arguments, name))
