"""Shell: the life of one async actor in its process.

ZeroMQ's descriptor tells of the *edge* of news only, so the socket is drained after each edge and after each send.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import msgspec

from regrow.runtime import wire
from regrow.runtime.async_actor import AsyncActor, AsyncContext
from regrow.runtime.desk import LAST_WORDS_S, Caller, Desk, content
from regrow.runtime.errors import RegrowError
from regrow.runtime.host import failure
from regrow.runtime.link import Dealer
from regrow.runtime.loop import hold_stop_signals
from regrow.runtime.mailbox import timeout_of
from regrow.runtime.process import Start
from regrow.runtime.spec import ExitReason
from regrow.runtime.wire import Call, Cast, Down, FromChild, Letter, Stop


class AsyncHost(Desk):
    """Runs ``actor_class`` with what ``start`` tells."""

    def __init__(self, actor_class: type[AsyncActor[Any, Any]], start: Start, dealer: Dealer | None) -> None:
        super().__init__(actor_class.message_type, actor_class.mailbox_size, start, dealer)
        self._class = actor_class
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_mail = asyncio.Event()
        self._waiters: dict[int, asyncio.Future[None]] = {}
        self._actor: AsyncActor[Any, Any] | None = None

    def run(self) -> ExitReason:
        """From init to end; why it ended."""
        with asyncio.Runner(loop_factory=self._class.loop_factory) as runner:
            return runner.run(self._live())

    async def _live(self) -> ExitReason:
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[ExitReason] = self._loop.create_future()
        try:
            await self._begin()
            reason = await self._ended
        except Exception as error:  # noqa: BLE001 (the outermost frame round user code: it becomes the exit reason)
            reason = failure(error)
        reason = await self._finish(reason)
        await self._close()
        return reason

    async def _begin(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._signalled, number)
        if self._dealer is not None:
            self._loop.add_reader(self._dealer.fileno(), self._hear)
            self._send(wire.Hello(self._class.role))
        arguments = msgspec.msgpack.decode(self.start.arguments, type=self._class.arguments_type)
        self._actor = self._class(arguments, AsyncContext(self))
        self._spawn(self._serve())
        await self._actor.on_start()
        if not self.is_ready_deferred and not self._ended.done():
            self.acknowledge_start()
        self._beat()

    async def _finish(self, reason: ExitReason) -> ExitReason:
        try:
            if self._actor is not None:
                await self._actor.on_end()
        except Exception as error:  # noqa: BLE001 (user code; the first reason stands unless there was none)
            return failure(error) if reason.is_normal else reason
        return reason

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._dealer is not None:
            hold_stop_signals()
            self._loop.remove_reader(self._dealer.fileno())
            self._dealer.close(LAST_WORDS_S)

    def exit(self, reason: ExitReason | None) -> None:
        """End as soon as the loop gets to it."""
        if not self._ended.done():
            self._ended.set_result(self._reason(reason))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run user code beside the rest; what it raises ends the actor."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._settled)

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._ended.done():
            self._ended.set_exception(error)

    def _signalled(self, number: int) -> None:
        """SIGTERM and SIGINT ask for a stop; a second SIGINT is from a person who will not wait."""
        if number == signal.SIGINT and self._is_stopping:
            self.exit(None)
        else:
            self._stop(self.start.grace_s)

    def _stop(self, grace_s: float | None) -> None:
        if not self._is_stopping and self._actor is not None:
            self._is_stopping = True
            self._spawn(self._actor.on_stop(grace_s))

    def _soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)

    def _beat(self) -> None:
        if self.start.beat_s is not None and self._dealer is not None and not self._ended.done():
            self._send(wire.Beat())
            self._loop.call_later(self.start.beat_s, self._beat)

    def _send(self, message: FromChild) -> bool:
        is_sent = super()._send(message)
        self._loop.call_soon(self._hear_again)
        return is_sent

    def _hear_again(self) -> None:
        if not self._ended.done():
            self._hear()

    def take(self, message: Stop | Letter) -> None:
        """Into the mailbox, and at once to whoever waits."""
        super().take(message)
        for ref in [ref for ref in self._waiters if self._mailbox.has_answer(ref)]:
            self._waiters.pop(ref).set_result(None)
        while (system := self._mailbox.next_system()) is not None:
            self._handle_system(system)
        self._has_mail.set()

    def _handle_system(self, message: Stop | Down) -> None:
        if isinstance(message, Stop):
            self._stop(message.grace_s)
        elif self._actor is not None:
            self._monitored.pop(message.ref, None)
            self._spawn(self._actor.on_down(message))

    async def _serve(self) -> None:
        """User messages, one after the other."""
        while True:
            await self._has_mail.wait()
            self._has_mail.clear()
            while (message := self._mailbox.next_user()) is not None:
                await self._handle_user(message)

    async def _handle_user(self, message: Cast | Call) -> None:
        assert self._actor is not None
        caller = Caller(message.sender, message.ref) if isinstance(message, Call) else None
        try:
            reply = await self._actor.on_message(self._decode(message), message.sender)
        except RegrowError as error:
            self._take_back(message, caller, error)
        else:
            if caller is not None:
                self.answer(caller, reply)

    async def call(self, path: str, message: msgspec.Struct, timeout_s: float, reply_type: Any) -> Any:
        """A Call on its way, and its answer."""
        ref = self._begin_call(path, message)
        answer = self._mailbox.answer(ref)
        if answer is None:
            waiter = self._waiters[ref] = self._loop.create_future()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await waiter
            self._waiters.pop(ref, None)
            answer = self._mailbox.answer(ref)
        if answer is None:
            self._abandon_call(path, ref)
            raise timeout_of(path, timeout_s)
        return content(answer, reply_type, path)
