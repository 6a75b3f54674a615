"""Shell: the dispatcher: the process between the store and the workers.

::

    store ◀──▶ StoreThread ──deliveries──▶ loop ◀──frames──▶ Router ◀──▶ workers
                    ▲                       │
                    └───────requests────────┘   all decisions: dispatch.Dispatch

One loop, no locks: the store's threads hand over what happened through a deque and a waker, and never touch anything
else.
"""

import os
import platform
import socket
import uuid
from collections import deque
from collections.abc import Iterable
from typing import ClassVar, Final

import msgspec

from regrow.actors import stimuli, wire
from regrow.actors.chronicle import Chronicle
from regrow.actors.dispatch import Dispatch
from regrow.actors.events import Event
from regrow.actors.leases import Leases
from regrow.actors.limits import NO_LIMITS, Limits
from regrow.actors.placement import Seat
from regrow.actors.reception import Identity
from regrow.actors.records import DispatcherRecord
from regrow.actors.stimuli import Effect, Stimulus
from regrow.actors.store import Store
from regrow.actors.store_thread import Delivery, Departed, Farewell, Pulse, Recorded, StoreThread
from regrow.actors.task import RETENTION_S, WorkerId, WorkerRecord
from regrow.actors.wire import BATCH_BYTES, Mode
from regrow.runtime import clock, events, logs
from regrow.runtime.actor import Actor, Context, Down, Timer
from regrow.runtime.crashpoint import guarded
from regrow.runtime.errors import ProtocolError
from regrow.runtime.link import Router, bind_router
from regrow.runtime.tree import News

PULSE_S: Final = 1.0  # between signs of life in the store
FAREWELL_S: Final = 1.0  # of the grace, kept for taking leave of the store
ROSTER_EVENTS: Final = frozenset({Event.WORKER_JOINED, Event.WORKER_LEFT, Event.WORKER_LOST})


class DispatcherArguments(msgspec.Struct, frozen=True):
    """What a dispatcher is told.  ``dispatcher`` is its name in the store, the same after a restart."""

    store_url: str
    endpoint: str  # ipc://PATH, or tcp://HOST:PORT (0 picks a free one)
    mode: Mode = Mode.PUSH  # of its workers; shown, not enforced: each worker says how it is to be filled
    dispatcher: str = "dispatcher"
    listening_fd: int | None = None  # an inherited socket that listens at ``endpoint`` already
    max_payload_bytes: int = 64 * 1024 * 1024
    retention_s: float = RETENTION_S
    drain_s: float = 10.0  # how long a stop waits for running tasks
    caps: Limits = NO_LIMITS  # what no task may have more of
    log_level: str = "info"


class Dispatcher(Actor[DispatcherArguments, News]):
    """Carries out what ``Dispatch`` decides."""

    arguments_type: ClassVar[type[msgspec.Struct]] = DispatcherArguments
    message_type = News
    role: ClassVar[str] = "dispatcher"

    def __init__(self, arguments: DispatcherArguments, context: Context) -> None:
        super().__init__(arguments, context)
        python = ".".join(platform.python_version_tuple()[:2])
        identity = Identity(f"{arguments.dispatcher}/{uuid.uuid4().hex[:12]}", context.tree, python)
        self._core = Dispatch(identity, Leases(caps=arguments.caps))
        self._deliveries: deque[Delivery] = deque()
        self._hints: set[Delivery] = set()  # those among them: a second one says nothing more
        self._monitors: dict[int, WorkerId] = {}
        self._tally = events.Tally()  # of damaged frames
        self._timer: Timer | None = None
        self._is_pulsing = False  # a pulse is on its way
        self._is_roster_new = False  # it does not show the workers of now
        self._started_at = clock.wall()
        self._send = guarded(self._send_now, lambda _, message: f"send.{message.__struct_config__.tag}")
        self._router: Router
        self._store: StoreThread

    def on_start(self) -> None:
        """Bind, and begin to speak with the store; workers are welcomed once it has answered."""
        arguments, context = self.arguments, self.context
        logs.configure(arguments.log_level, actor=context.path, incarnation=context.incarnation)
        max_frame_bytes = max(int(arguments.max_payload_bytes * 1.5), 3 * BATCH_BYTES)
        self._router = bind_router(arguments.endpoint, arguments.listening_fd, max_frame_bytes)
        context.watch(self._router, self._workers_spoke)
        wake = context.waker(self._store_spoke)

        def deliver(delivery: Delivery) -> None:
            if isinstance(delivery, stimuli.Hint):
                if delivery in self._hints:
                    return
                self._hints.add(delivery)
            self._deliveries.append(delivery)
            wake()

        store = Store.connect(arguments.store_url, arguments.retention_s)
        self._store = StoreThread(store, arguments.dispatcher, self._core.identity.token, deliver)
        self._store.start()
        self._chronicle = Chronicle(context, self._store.ask)
        self._chronicle.begin()
        context.annotate(endpoint=self._router.address, mode=arguments.mode)
        self._pulse_for_ever()

    def on_message(self, message: News, sender: str) -> None:  # noqa: ARG002 (the root)
        """Something has happened in our tree."""
        self._chronicle.heard(message)

    def on_down(self, down: Down) -> None:
        """A worker of our tree has ended: what it had sent before counts first.

        One that ended in order has taken its leave, in words that are here or on their way; should they be lost, its
        silence will tell.
        """
        self._workers_spoke()
        worker = self._monitors.pop(down.ref, None)
        if worker is not None and not down.reason.is_normal:
            self._fold([stimuli.WorkerDown(worker, str(down.reason))])

    def on_gap(self, gap_s: float) -> None:  # noqa: ARG002 (the length does not matter)
        """We were suspended."""
        self._fold([stimuli.Suspended()])

    def on_stop(self, grace_s: float | None) -> None:
        """Drain, take leave of the store, end."""
        drain_s = self.arguments.drain_s
        if grace_s is not None:
            drain_s = max(0.0, min(drain_s, grace_s - FAREWELL_S))
        self.context.after(drain_s + FAREWELL_S, self.context.exit)
        self._fold([stimuli.Stop(drain_s)])

    def on_end(self) -> None:
        """Close everything."""
        if hasattr(self, "_store"):
            self._store.close()
        if hasattr(self, "_router"):
            self.context.unwatch(self._router)
            self._router.close()

    def _workers_spoke(self) -> None:
        heard: list[Stimulus] = []
        for identity, frame in self._router.receive():
            try:
                heard.append(stimuli.WorkerSaid(WorkerId(identity.decode()), wire.decode_from_worker(frame)))
            except (ProtocolError, UnicodeDecodeError) as error:
                self._tally.note(events.Event.FRAME_DROPPED, problem=str(error), peer=repr(identity))
        if heard:
            self._fold(heard)

    def _store_spoke(self) -> None:
        heard: list[Stimulus] = []
        while self._deliveries:
            delivery = self._deliveries.popleft()
            if isinstance(delivery, stimuli.Hint):
                self._hints.discard(delivery)  # before it is folded: what comes from here on counts anew
            if isinstance(delivery, Exception):
                raise delivery
            if isinstance(delivery, Departed):
                self.context.exit()
            elif isinstance(delivery, Recorded):
                self._chronicle.recorded(delivery)
            else:
                heard.append(delivery)
        if any(isinstance(stimulus, stimuli.Pulsed) for stimulus in heard):
            self._is_pulsing = False
        if heard:
            self._fold(heard)

    def _fold(self, happened: Iterable[Stimulus]) -> None:
        """Let the core decide, carry out what it wants, and set the timer."""
        while happened:
            happened = self._carry_out(self._core.fold(happened, self.context.now()))
        if self._is_roster_new and not self._is_pulsing:
            self._pulse()
        self._arm()

    def _carry_out(self, effects: list[Effect]) -> list[Stimulus]:
        """Returns what became of sends that failed."""
        failed: list[Stimulus] = []
        for effect in effects:
            match effect:
                case stimuli.Send(worker, message):
                    if not self._send(worker, message) and isinstance(message, wire.Run):
                        failed.append(stimuli.Undelivered(worker, message))
                case stimuli.Monitor(worker, path):
                    self._monitors[self.context.monitor(path)] = worker
                case stimuli.Demonitor(worker):
                    self._demonitor(worker)
                case stimuli.Report():
                    self._report(effect)
                case stimuli.Finished(is_clean):
                    self._finish(is_clean=is_clean)
                case _:
                    self._store.ask(effect)
        return failed

    def _send_now(self, worker: WorkerId, message: wire.ToWorker) -> bool:
        return self._router.send(worker.encode(), wire.encode(message))

    def _demonitor(self, worker: WorkerId) -> None:
        for ref in [ref for ref, watched in self._monitors.items() if watched == worker]:
            del self._monitors[ref]
            self.context.demonitor(ref)

    def _report(self, report: stimuli.Report) -> None:
        self._is_roster_new = self._is_roster_new or report.event in ROSTER_EVENTS
        say = logs.log.warning if report.is_warning else logs.log.info
        say(report.event, **report.fields)

    def _finish(self, *, is_clean: bool) -> None:
        if is_clean:
            self._store.ask(Farewell())
        else:
            self.context.exit()

    def _arm(self) -> None:
        """Have ``_due`` called at the core's deadline; a timer that is set for sooner does as well."""
        deadline = self._core.next_deadline()
        if deadline is None or (self._timer is not None and self._timer.at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.context.after(max(deadline - self.context.now(), 0.0), self._due)

    def _due(self) -> None:
        self._timer = None
        deadline = self._core.next_deadline()
        if deadline is not None and deadline <= self.context.now():
            self._fold([stimuli.Tick()])
        self._arm()

    def _pulse_for_ever(self) -> None:
        """Workers are told too, unasked: when their beats are delayed, the answers to those are late by twice as much."""
        for seat in self._core.leases.seats.unchanged():
            self._send(seat.hello.worker, wire.Reflect())
        if not self._is_pulsing:
            self._pulse()
        self.context.after(PULSE_S, self._pulse_for_ever)

    def _pulse(self) -> None:
        self._is_pulsing, self._is_roster_new = True, False
        now, wall = self.context.now(), clock.wall()
        seats = self._core.leases.seats.unchanged()
        workers = [self._record(seat, wall - (now - seat.last_beat)) for seat in seats]
        arguments = self.arguments
        record = DispatcherRecord(
            dispatcher=arguments.dispatcher,
            host=socket.gethostname(),
            pid=os.getpid(),
            mode=arguments.mode,
            endpoint=self._router.address,
            started_at=self._started_at,
            damaged_frames=self._tally.totals.get(events.Event.FRAME_DROPPED, 0),
        )
        self._store.ask(Pulse(record, workers))

    def _record(self, seat: Seat, last_beat: float) -> WorkerRecord:
        hello = seat.hello
        return WorkerRecord(
            worker_id=hello.worker,
            name=hello.name,
            host=hello.host,
            pid=hello.pid,
            mode=hello.mode,
            slots=hello.slots,
            busy=len(seat.busy),
            last_beat=last_beat,
            python=hello.python,
            dill=hello.dill,
            is_draining=seat.is_draining,
            dispatcher=self.arguments.dispatcher,
            path=hello.path,
            busy_slots=seat.busy,
        )
