"""Shell: a worker: takes tasks from its dispatcher, has them run by its slots, and answers for them.

It beats from its own loop and never runs user code itself, so whatever that code does, the worker goes on beating. What
it holds outlives its dispatcher: it keeps running, and tells the next dispatcher what it has (Hello) before anything
else. Between a Hello and its Welcome nothing but beats is said, and a Run is ignored, so that the list in the Hello is
the truth when the dispatcher reads it. The conversation is drawn in ``wire``; what it means for the slots is decided in
``slots``.

The exception is a worker that was itself suspended for a window, as its own clock tells it: it was held for lost, and
what it holds may run elsewhere. It kills that first, and then joins as somebody new, under an id that no lease knows.
Hearing nothing is no such sign: a dispatcher that restarts is silent too, and wants to find what runs still running.
"""

import os
import platform
import secrets
import signal
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from importlib.metadata import version
from typing import Final, assert_never

import msgspec

from regrow.actors import wire
from regrow.actors.crew import Crew, ForDispatcher
from regrow.actors.effects import Deliver, GiveBack, NeedCode
from regrow.actors.events import Event
from regrow.actors.gauge import Gauge, memory_of
from regrow.actors.limits import Limits
from regrow.actors.line import Line
from regrow.actors.nest import Nest
from regrow.actors.outbox import Outbox
from regrow.actors.pressure import capped, shed_for
from regrow.actors.slot import Key
from regrow.actors.slots import Slots
from regrow.actors.task import WorkerId
from regrow.runtime.actor import Actor, Context
from regrow.runtime.errors import ConfigError
from regrow.runtime.logs import log
from regrow.runtime.process import become_subreaper
from regrow.runtime.spec import Heartbeat

END_S: Final = 0.5  # of a stop's grace, kept for ending


class WorkerArguments(msgspec.Struct, frozen=True):
    """What a worker is told. ``dispatcher`` is the endpoint of its data socket."""

    dispatcher: str
    mode: wire.Mode = wire.Mode.PUSH
    slots: int = 2
    import_path: tuple[str, ...] = ()  # directories that user code may import from
    max_payload_bytes: int = 64 * 1024 * 1024
    drain_s: float = 10.0  # how long a stop waits for running tasks
    memory_budget_bytes: int | None = None  # of the whole tree; None: what the machine or the cgroup has
    most_memory_bytes: int | None = None  # that one task may have, whatever its own limit says


class Worker(Actor[WorkerArguments, object]):
    """One worker process. It is ready when its first slot is, whether its dispatcher is there or not."""

    arguments_type = WorkerArguments
    role = "worker"
    signals = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)  # nohup keeps its meaning

    def __init__(self, arguments: WorkerArguments, context: Context) -> None:
        super().__init__(arguments, context)
        self._host = socket.gethostname()
        self._id = self._new_id()
        self._slots = Slots(arguments.slots)
        self._outbox = Outbox()
        self._given_back: list[wire.Lease] = []
        self._granted = -1  # tasks that the dispatcher was last told it would hold; -1: not told
        self._beat_s, self._window_s = Heartbeat().interval_s, Heartbeat().window_s
        self._last_beat = context.now()
        self._is_welcome = False
        self._is_flush_due = False
        self._pressure = wire.Pressure(wire.Level.OK, 0, 0)  # the last that was to be told
        self._caps = Limits(memory_bytes=arguments.most_memory_bytes)
        self._belongings = ExitStack()  # what on_end releases

    def on_start(self) -> None:
        self.context.defer_ready()
        become_subreaper()
        nest = Nest(self.context.run_directory if self.context.tree else None, self.context.name)
        self._belongings.callback(nest.remove)
        self._line = Line(
            self.context, self.arguments.dispatcher, self.arguments.max_payload_bytes, self._introduce, self._hear
        )
        self._line.open(self._id)
        self._belongings.callback(self._line.close)
        self._crew = Crew(self.context, self._slots, nest.path, self.arguments, self._tell)
        self._belongings.callback(self._crew.close)
        self._memory = memory_of(self.context, self._id, self.arguments.memory_budget_bytes)
        self._gauge = Gauge(self.context, self._memory, self._slots, self._crew.pid_of, self._press)
        self._crew.carry(self._slots.start())
        if not self.context.tree:
            self._beat_by_itself()

    def on_gap(self, gap_s: float) -> None:  # noqa: ARG002 (what counts is how long the dispatcher has heard nothing)
        """Shorter than a window, and nothing is lost but time.  Longer: fence, forget, and join as a new incarnation."""
        silent_s = self.context.now() - self._last_beat
        self._line.excuse()
        if silent_s >= self._window_s:
            self._rejoin(silent_s)

    def on_stop(self, grace_s: float | None) -> None:
        """Drain: give back what has not started, finish what runs, have every outcome acknowledged."""
        drain_s = self.arguments.drain_s if grace_s is None else min(self.arguments.drain_s, max(0.0, grace_s - END_S))
        log.info(Event.WORKER_DRAINING, held=len(self._slots.held), drain_s=drain_s)
        self._line.say(wire.Leaving())
        self._crew.carry(self._slots.drain())
        self.context.after(drain_s, self._depart)
        self._flush_soon()

    def on_signal(self, number: int) -> None:  # noqa: ARG002 (it is SIGHUP)
        """Its terminal is gone: the same as a stop."""
        self.on_stop(None)

    def on_end(self) -> None:
        self._belongings.close()

    def _new_id(self) -> WorkerId:
        return WorkerId(f"{self.context.name}@{self._host}/{secrets.token_hex(4)}")

    # What the dispatcher hears.

    def _rejoin(self, silent_s: float) -> None:
        """Its leases are gone: what ran under them is killed before a word is said, and nobody will ask for the old id."""
        lost = {"held": len(self._slots.held), "outcomes": len(self._slots.unacknowledged)}
        log.warning(Event.WORKER_ABANDONED, silent_s=round(silent_s, 3), **lost)
        self._crew.carry(self._slots.abandon())
        self._outbox.clear()
        self._given_back = []
        self._is_welcome = False
        self._id = self._new_id()
        self._line.renew(self._id)

    def _reconnect(self) -> None:
        """The dispatcher is silent: a new connection reaches its successor, and forgets what was queued for it."""
        if self._is_welcome:
            log.warning(Event.DISPATCHER_LOST, silent_s=round(self._line.silent_s(), 3))
        self._line.renew(self._id)

    def _introduce(self) -> None:
        self._is_welcome = False
        self._line.say(
            wire.Hello(
                protocol=wire.PROTOCOL,
                worker=self._id,
                name=self.context.name,
                host=self._host,
                pid=os.getpid(),
                mode=self.arguments.mode,
                slots=self.arguments.slots,
                python=platform.python_version(),
                dill=version("dill"),
                held=_leases(self._slots.held),
                done=_leases(self._slots.unacknowledged),
                tree=self.context.tree,
                path=self.context.path if self.context.tree else "",
                is_draining=self._slots.is_draining,
                said=self._line.talk.said + 1,
                memory=self._memory.name,
            )
        )

    def _beat_by_itself(self) -> None:
        self.context.after(self._beat_s, self._beat_by_itself)
        self.on_beat()

    def on_beat(self) -> None:
        """To the dispatcher in the same moment as to the supervisor: one silence, by whichever of the two it is judged."""
        if self._line.silent_s() > self._window_s:
            self._reconnect()
        if self._line.is_connected:
            self._line.say(wire.Beat(self._slots.busy(), self._line.talk.said))
        self._last_beat = self.context.now()
        self._crew.look()
        self._flush_soon()

    def _tell(self, effect: ForDispatcher) -> None:
        """Before the Welcome nothing is queued but give-backs: ``resume`` repeats the rest."""
        match effect:
            case Deliver(outcome) if self._is_welcome:
                self._outbox.put(outcome)
            case NeedCode(digests) if self._is_welcome:
                self._line.say(wire.NeedCode(digests))
            case GiveBack(leases):
                self._given_back += leases
        self._flush_soon()

    def _flush_soon(self) -> None:
        """Once at the end of this round, for all that has happened in it."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self.context.after(0.0, self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        self._gauge.wake()
        if self._is_welcome:
            self._send_given_back()
            self._send_outcomes()
            self._send_grant()
        if self._slots.is_draining and self._slots.is_empty() and not self._given_back:
            self._depart()

    def _send_given_back(self) -> None:
        if self._given_back and self._line.say(wire.GaveBack(self._given_back)):
            self._given_back = []

    def _send_outcomes(self) -> None:
        while batch := self._outbox.batch(self._slots.unacknowledged):
            if not self._line.say(wire.Done(batch)):
                self._outbox.put_back(batch)
                return

    def _send_grant(self) -> None:
        tasks = self._slots.capacity()
        if self.arguments.mode is wire.Mode.PULL and tasks != self._granted and self._line.say(wire.Grant(tasks)):
            self._granted = tasks

    def _press(self, pressure: wire.Pressure) -> bool:
        self._pressure = pressure
        return self._is_welcome and self._line.say(pressure)

    def _depart(self) -> None:
        """What was given back and not said, for want of a dispatcher, is not undone: it was not started."""
        undone = [*self._slots.held, *self._slots.unacknowledged]
        self._line.say(wire.Leaving(is_final=True, undone=_leases(undone)))
        self.context.exit()

    # What the dispatcher says.

    def _hear(self) -> None:
        talk = self._line.talk
        for message in self._line.hear():
            is_lossy = talk.hears(message, is_welcome=self._is_welcome)
            self._fold(message)
            if is_lossy:
                log.warning(Event.WORDS_LOST, worker=self._id, said=talk.said, heard=talk.heard)
                self._introduce()
        self._flush_soon()

    def _fold(self, message: wire.ToWorker) -> None:
        match message:
            case wire.Run(tasks):
                if self._is_welcome:
                    self._crew.carry(self._slots.accept(capped(tasks, self._caps)))
            case wire.Ack(leases):
                self._crew.carry(self._slots.acknowledge(leases))
            case wire.Code(functions):
                self._crew.carry(self._slots.learn(functions))
            case wire.Recall(count):
                self._crew.carry(self._slots.recall(count))
            case wire.Drop(leases):
                self._crew.carry(self._slots.drop(leases))
            case wire.Shed(lease):
                self._crew.carry(self._slots.shed(lease, shed_for(self._pressure)))
            case wire.Welcome():
                self._settle(message)
            case wire.WhoAreYou():
                self._introduce()
            case wire.Refused(reason):
                raise ConfigError(f"the dispatcher at {self.arguments.dispatcher} refuses this worker: {reason}")
            case wire.Reflect():
                pass
            case _:
                assert_never(message)

    def _settle(self, welcome: wire.Welcome) -> None:
        """Registered: say everything that the dispatcher may not have heard."""
        log.info(Event.WORKER_WELCOME, dispatcher=welcome.dispatcher)
        self._beat_s, self._window_s = welcome.beat_interval_s, welcome.window_s
        self._is_welcome = True
        self._granted = -1
        self._outbox.clear()
        self._crew.carry(self._slots.resume())


def _leases(keys: Iterable[Key]) -> list[wire.Lease]:
    return [wire.Lease(task_id, attempt) for task_id, attempt in keys]
