"""Core: a dispatcher's process on paper: the real ``Dispatch`` in a model of ``actors/dispatcher.py``.

A round takes time: what comes meanwhile is taken in with the next one, all at once, as a real loop reads everything that is
readable.
"""

from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Protocol, get_args

from regrow.actors import stimuli, wire
from regrow.actors.dispatch import Dispatch
from regrow.actors.reception import Identity
from regrow.actors.stimuli import Effect, Stimulus
from regrow.actors.task import WorkerId
from regrow.chaos.simulation.caller import Beat, Caller, Delivery, Departed, Farewell
from regrow.chaos.simulation.chance import Chance
from regrow.chaos.simulation.clock import Clock
from regrow.chaos.simulation.network import Connection, Way
from regrow.chaos.simulation.pace import DRAIN_S, FAREWELL_S, PULSE_S
from regrow.chaos.simulation.process import Process
from regrow.chaos.simulation.server import Line
from regrow.runtime.spec import ExitReason, ReasonKind

SAID = {kind: f"said {kind.__name__}" for kind in get_args(wire.ToWorker)}
SHUTDOWN = ExitReason(ReasonKind.SHUTDOWN)


class Surroundings(Protocol):
    """What a dispatcher needs of its world."""

    clock: Clock
    dice: Chance
    round_s: float

    def saw(self, what: str) -> None:
        """Something of interest has happened."""
        ...

    def acknowledging(self, dispatcher: str, leases: list[wire.Lease]) -> None:
        """Before this is said to a worker."""
        ...

    def folded(self, dispatcher: "DispatcherProcess") -> None:
        """After each step of a core."""
        ...


class Post(Protocol):
    """What its place in a tree gives it."""

    name: str
    tree: str

    def line(self, process: Process) -> Line:
        """Its connection to the store."""
        ...

    def ready(self) -> None:
        """Its init is done."""
        ...

    def beat(self) -> None:
        """A beat for its supervisor."""
        ...

    def subscribe(self, dispatcher: "DispatcherProcess") -> None:
        """It wants the store's hints."""
        ...

    def monitor(self, ref: int, path: str) -> None:
        """Tell it of the end of the actor there."""
        ...

    def demonitor(self, ref: int) -> None:
        """Not any more."""
        ...


class DispatcherProcess(Process):
    """One incarnation of a dispatcher."""

    def __init__(self, world: Surroundings, post: Post, token: str) -> None:
        super().__init__(world.clock, post.name)
        self.post = post
        self.core = Dispatch(Identity(token, post.tree, "3.11"))
        self.router: dict[WorkerId, Connection] = {}
        self.line = post.line(self)
        self.caller = Caller(self, self.line, post.name, token, self._delivered, world.dice)
        self.is_stopping = False
        self._world = world
        self._inbox: list[Stimulus] = []
        self._deliveries: deque[Delivery] = deque()
        self._hints: dict[stimuli.Hint, None] = {}
        self._monitors: dict[int, WorkerId] = {}
        self._refs = 0
        self._is_round_due = False
        self._rounds_from = 0.0
        self._timer_at: float | None = None
        self._is_pulsing = False

    @property
    def process(self) -> Process:
        """Itself, to whoever talks with it."""
        return self

    def begin(self) -> None:
        """Its init."""
        self.caller.begin()
        self.post.subscribe(self)
        self._pulse_for_ever()
        self._beat()
        self.post.ready()

    def on_gap(self, gap_s: float) -> None:  # noqa: ARG002
        self._world.saw("dispatcher was suspended")
        self._fold([stimuli.Suspended()])

    def on_end(self) -> None:
        router, self.router = self.router, {}
        for connection in router.values():
            connection.lose_end(Way.BACK)

    def stop(self, grace_s: float | None) -> None:
        """It is asked to stop: drain."""
        if self.is_stopping:
            return
        self.is_stopping = True
        drain_s = DRAIN_S if grace_s is None else max(0.0, min(DRAIN_S, grace_s - FAREWELL_S))
        self.after(drain_s + FAREWELL_S, partial(self.end, SHUTDOWN))
        self._fold([stimuli.Stop(drain_s)])

    # What comes.

    def arrive(self, worker: WorkerId, message: wire.FromWorker) -> None:
        """A worker's message is here."""
        if self.is_alive:
            self._inbox.append(stimuli.WorkerSaid(worker, message))
            self._round_soon()

    def attach(self, worker: WorkerId, connection: Connection) -> None:
        """A worker has connected; a new connection takes over its identity."""
        self.router[worker] = connection

    def detach(self, worker: WorkerId, connection: Connection) -> None:
        """Its connection is gone."""
        if self.router.get(worker) is connection:
            del self.router[worker]

    def hint(self, hint: stimuli.Hint) -> None:
        """The store has published something."""
        if hint not in self._hints:
            self._hints[hint] = None
            self._round_soon()

    def down(self, ref: int, reason: ExitReason) -> None:
        """A worker of our tree has ended: what it had sent before counts first."""
        self._workers_spoke()
        worker = self._monitors.pop(ref, None)
        if worker is not None and not reason.is_normal:
            self._world.saw("dispatcher told of a death")
            self._fold([stimuli.WorkerDown(worker, str(reason))])

    def _delivered(self, delivery: Delivery) -> None:
        self._deliveries.append(delivery)
        self._round_soon()

    def _round_soon(self) -> None:
        """A process that is stopped has its round when it goes on."""
        if not self._is_round_due:
            self._is_round_due = True
            self.clock.at(max(self._rounds_from, self.clock.now), partial(self.hear, self._round))

    def _round(self) -> None:
        self._is_round_due = False
        self._rounds_from = self.clock.now + self._world.round_s
        self._workers_spoke()
        self._store_spoke()

    def _workers_spoke(self) -> None:
        if self._inbox:
            heard, self._inbox = self._inbox, []
            self._fold(heard)

    def _store_spoke(self) -> None:
        heard: list[Stimulus] = list(self._hints)
        self._hints.clear()
        while self._deliveries:
            delivery = self._deliveries.popleft()
            if isinstance(delivery, Departed):
                self.end(SHUTDOWN)
                return
            self._is_pulsing = self._is_pulsing and not isinstance(delivery, stimuli.Pulsed)
            heard.append(delivery)
        if heard:
            self._fold(heard)

    # What is done.

    def _fold(self, happened: Iterable[Stimulus]) -> None:
        while happened:
            happened = self._carry_out(self.core.fold(happened, self.clock.now))
        self._world.folded(self)
        self._arm()

    def _carry_out(self, effects: list[Effect]) -> list[Stimulus]:
        failed: list[Stimulus] = []
        for effect in effects:
            match effect:
                case stimuli.Send(worker, message):
                    if not self._send(worker, message) and isinstance(message, wire.Run):
                        self._world.saw("run undelivered")
                        failed.append(stimuli.Undelivered(worker, message))
                case stimuli.Monitor(worker, path):
                    self._refs += 1
                    self._monitors[self._refs] = worker
                    self.post.monitor(self._refs, path)
                case stimuli.Demonitor(worker):
                    for ref in [ref for ref, watched in self._monitors.items() if watched == worker]:
                        del self._monitors[ref]
                        self.post.demonitor(ref)
                case stimuli.Report(event):
                    self._world.saw(f"event {event}")
                case stimuli.Finished(is_clean):
                    if is_clean:
                        self.caller.ask(Farewell())
                    else:
                        self.after(0.0, partial(self.end, SHUTDOWN))
                case _:
                    self.caller.ask(effect)
        return failed

    def _send(self, worker: WorkerId, message: wire.ToWorker) -> bool:
        connection = self.router.get(worker)
        if connection is None:
            return False
        if isinstance(message, wire.Ack):
            self._world.acknowledging(self.post.name, message.leases)
        if not isinstance(message, wire.Reflect):
            self._world.saw(SAID[type(message)])
        connection.send(Way.BACK, message)
        return True

    def _arm(self) -> None:
        deadline = self.core.next_deadline()
        if deadline is None or (self._timer_at is not None and self._timer_at <= deadline):
            return
        self._timer_at = max(deadline, self.clock.now)
        self.after(self._timer_at - self.clock.now, partial(self._due, self._timer_at))

    def _due(self, timer_at: float) -> None:
        if self._timer_at != timer_at:
            return
        self._timer_at = None
        deadline = self.core.next_deadline()
        if deadline is not None and deadline <= self.clock.now:
            self._workers_spoke()  # a round reads before it runs its timers
            self._fold([stimuli.Tick()])
        self._arm()

    def _pulse_for_ever(self) -> None:
        for seat in self.core.leases.seats.unchanged():
            self._send(seat.hello.worker, wire.Reflect())
        if not self._is_pulsing:
            self._is_pulsing = True
            self.caller.ask(Beat())
        self.after(PULSE_S, self._pulse_for_ever)

    def _beat(self) -> None:
        self.post.beat()
        self.after(1.0, self._beat)
