"""Shell: the life of one actor in its process: mailbox, loop, beats, and the way it ends.

One round: read everything readable (the supervisor's letters go into the mailbox), run due timers, then handle mail for
at most ``MAIL_S``, looking at the supervisor's socket again after each message so that a Stop overtakes those that
wait. Beats are a timer of this loop and of no other thread: a loop that hangs falls silent.
"""

import os
import signal
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

import msgspec

from regrow.runtime import events, wire
from regrow.runtime.actor import Actor, Context, NoArguments
from regrow.runtime.desk import LAST_WORDS_S, Caller, Desk, content
from regrow.runtime.errors import ConfigError, RegrowError
from regrow.runtime.events import Event
from regrow.runtime.link import Dealer, connect_dealer
from regrow.runtime.loop import Loop, hold_stop_signals, ignore_stop_signals, signals_of
from regrow.runtime.mailbox import timeout_of
from regrow.runtime.process import Start, link_identity
from regrow.runtime.spec import ExitReason, ReasonKind
from regrow.runtime.wire import Call, Cast, Down, Stop

MAIL_S: Final = 0.01  # handling mail goes on for this long before the loop looks at everything else


class Host(Desk):
    """Runs ``actor_class`` with what ``start`` tells."""

    def __init__(self, actor_class: type[Actor[Any, Any]], start: Start, dealer: Dealer | None) -> None:
        super().__init__(actor_class.message_type, actor_class.mailbox_size, start, dealer)
        self.loop = Loop(self._gap)
        self._class = actor_class
        self._beat_due: float | None = None
        self._ending: ExitReason | None = None
        self._actor: Actor[Any, Any] = Actor(NoArguments(), Context(self))  # until the real one is made

    def run(self) -> ExitReason:
        """From init to end; why it ended."""
        with ExitStack() as stack:
            stack.callback(self._close)
            taken = (signal.SIGTERM, signal.SIGINT, *self._class.signals)
            stack.enter_context(signals_of(self.loop, taken, self._signalled))
            reason = self._finish(self._live())
            if self._dealer is not None:
                hold_stop_signals()
            return reason

    def _live(self) -> ExitReason:
        try:
            self._begin()
            while self._ending is None:
                self._round()
        except Exception as error:  # noqa: BLE001 (the outermost frame round user code: it becomes the exit reason)
            return failure(error)
        return self._ending

    def _begin(self) -> None:
        if self._dealer is not None:
            self.loop.watch(self._dealer, self._hear)
            self._send(wire.Hello(self._class.role))
        arguments = msgspec.msgpack.decode(self.start.arguments, type=self._class.arguments_type)
        self._actor = self._class(arguments, self._actor.context)
        self._actor.on_start()
        if not self.is_ready_deferred and self._ending is None:
            self.acknowledge_start()
        self._beat()

    def _round(self) -> None:
        self.loop.turn(may_wait=self._mailbox.is_empty)
        until = self.loop.now() + MAIL_S
        while self._ending is None and (message := self._mailbox.next()) is not None:
            self._handle(message)
            self._hear()
            if self.loop.now() > until:
                break

    def _finish(self, reason: ExitReason) -> ExitReason:
        try:
            self._actor.on_end()
        except Exception as error:  # noqa: BLE001 (user code; the first reason stands unless there was none)
            return failure(error) if reason.is_normal else reason
        return reason

    def _close(self) -> None:
        if self._dealer is not None:
            self._dealer.close(LAST_WORDS_S)
        self.loop.close()

    def exit(self, reason: ExitReason | None) -> None:
        """End after the present callback."""
        if self._ending is None:
            self._ending = self._reason(reason)

    def _stop(self, grace_s: float | None) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            self._actor.on_stop(grace_s)

    def _signalled(self, number: int) -> None:
        """SIGTERM and SIGINT ask for a stop; a second SIGINT is from a person who will not wait."""
        if number not in (signal.SIGTERM, signal.SIGINT):
            self._actor.on_signal(number)
        elif number == signal.SIGINT and self._is_stopping:
            self.exit(None)
        else:
            self._stop(self.start.grace_s)

    def _gap(self, gap_s: float) -> None:
        events.say("warning", Event.LOOP_GAP, gap_s=round(gap_s, 3))
        self._actor.on_gap(gap_s)

    def _soon(self, callback: Callable[[], None]) -> None:
        self.loop.after(0.0, callback)

    def _beat(self) -> None:
        if self.start.beat_s is None or self._dealer is None:
            return
        self._send(wire.Beat())
        self._actor.on_beat()
        self._beat_due = self.loop.now() + self.start.beat_s
        self.loop.after(self.start.beat_s, self._beat)

    def call(self, path: str, message: msgspec.Struct, timeout_s: float, reply_type: Any) -> Any:
        """A Call on its way, and its answer."""
        deadline = self.loop.now() + timeout_s
        ref = self._begin_call(path, message)
        while (answer := self._mailbox.answer(ref)) is None:
            if self.loop.now() >= deadline or self._dealer is None:
                self._abandon_call(path, ref)
                raise timeout_of(path, timeout_s)
            self._wait_for_mail(deadline)
        return content(answer, reply_type, path)

    def _wait_for_mail(self, deadline: float) -> None:
        """Hear the supervisor, and nothing else, until something comes, a beat is due or the deadline has passed."""
        assert self._dealer is not None
        until = deadline if self._beat_due is None else min(deadline, self._beat_due)
        self._dealer.wait(until - self.loop.now())
        if self._beat_due is not None and self.loop.now() >= self._beat_due:
            self._send(wire.Beat())
            self._beat_due = self.loop.now() + (self.start.beat_s or 0.0)
        self._hear()

    def _handle(self, message: Stop | Down | Cast | Call) -> None:
        match message:
            case Stop(grace_s):
                self._stop(grace_s)
            case Down():
                self._monitored.pop(message.ref, None)
                self._actor.on_down(message)
            case Cast() | Call():
                self._handle_user(message)

    def _handle_user(self, message: Cast | Call) -> None:
        self._current = message if isinstance(message, Call) else None
        try:
            reply = self._actor.on_message(self._decode(message), message.sender)
        except RegrowError as error:
            self._take_back(message, self.defer_answer(), error)
        else:
            caller = self.defer_answer()
            if caller is not None:
                self.answer(caller, reply)

    def defer_answer(self) -> Caller | None:
        """Who waits for an answer to the present message; from now on that is the asker's business."""
        call, self._current = self._current, None
        return None if call is None else Caller(call.sender, call.ref)


def failure(error: Exception) -> ExitReason:
    """The end by an exception; a ConfigError is for people and needs no traceback."""
    if isinstance(error, ConfigError):
        return ExitReason(ReasonKind.EXCEPTION, type(error).__name__, str(error))
    return ExitReason(ReasonKind.EXCEPTION, type(error).__name__, "".join(traceback.format_exception(error)))


def exit_code(reason: ExitReason) -> int:
    """Of the process that ends for this reason."""
    return 0 if reason.is_normal else 1


def run_child(actor_class: type, start: Start) -> ExitReason:
    """Run a supervised actor in this process, to its end."""
    dealer = connect_dealer(start.link, link_identity(start.path.rpartition("/")[2], start.incarnation, os.getpid()))
    reason = _host(actor_class, start, dealer)
    ignore_stop_signals()
    return reason


def run_by_itself(actor_class: type, arguments: msgspec.Struct | None, name: str) -> ExitReason:
    """Run an actor without a supervisor, to its end.  Raises ConfigError if that is why it ended."""
    events.identify(name, 1, events.level())
    reason = _host(actor_class, alone(name, arguments), None)
    if reason.detail == ConfigError.__name__:
        raise ConfigError(reason.note)
    if not reason.is_normal:
        events.say("error", Event.ACTOR_FAILED, reason=str(reason), note=reason.note)
    return reason


def _host(actor_class: type, start: Start, dealer: Dealer | None) -> ExitReason:
    """Run it in the loop that it is written for."""
    if issubclass(actor_class, Actor):
        return Host(actor_class, start, dealer).run()
    from regrow.runtime.async_actor import AsyncActor
    from regrow.runtime.async_host import AsyncHost

    if issubclass(actor_class, AsyncActor):
        return AsyncHost(actor_class, start, dealer).run()
    raise ConfigError(f"{actor_class.__qualname__} is neither an Actor nor an AsyncActor")


def alone(name: str, arguments: msgspec.Struct | None, run_directory: str = "") -> Start:
    """What an actor without a supervisor is told."""
    packed = msgspec.msgpack.encode(arguments or NoArguments())
    return Start("", packed, name, 1, "", run_directory, "", None, None, events.level(), ())
