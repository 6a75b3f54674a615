"""Core: a worker's process on paper, as its dispatcher hears it: the real ``Talk`` and ``Outbox``, in a model of
``actors/worker.py``.

What is left out: stop signals; and damage other than that a message does not arrive.
"""

from collections.abc import Iterable
from typing import get_args

from regrow.actors import wire
from regrow.actors.effects import Deliver, GiveBack, NeedCode
from regrow.actors.outbox import Outbox
from regrow.actors.slot import Key
from regrow.actors.talk import Talk
from regrow.chaos.simulation.clock import Callback
from regrow.chaos.simulation.crew import CrewedProcess, Post, Surroundings
from regrow.chaos.simulation.network import Dealer
from regrow.runtime.spec import ExitReason, Heartbeat, ReasonKind

SAID = {kind: f"said {kind.__name__}" for kind in get_args(wire.FromWorker)}
SHUTDOWN = ExitReason(ReasonKind.SHUTDOWN)


class WorkerProcess(CrewedProcess):
    """One incarnation of a worker."""

    def __init__(self, world: Surroundings, post: Post) -> None:
        super().__init__(world, post)
        self._outbox = Outbox()
        self._talk = Talk()
        self._given_back: list[wire.Lease] = []
        self._granted = -1
        self._beat_s, self._window_s = Heartbeat().interval_s, Heartbeat().window_s
        self._last_heard = self._last_beat = self.clock.now
        self._is_connected = self._is_welcome = False
        self._dealer: Dealer | None = None

    def run(self, callback: Callback) -> None:
        """One round: what there is to send is sent at its end."""
        callback()
        if self._is_flush_due and self.is_alive:
            self._flush()

    def begin(self) -> None:
        """Its init."""
        self._connect()
        self._carry(self.core.start())
        self._beat()

    def on_gap(self, gap_s: float) -> None:  # noqa: ARG002
        silent_s = self.clock.now - self._last_beat
        self._last_heard = self.clock.now
        if silent_s >= self._window_s:
            self._rejoin()

    def on_end(self) -> None:
        if self._dealer is not None:
            self._dealer.close(is_orderly=False)

    def stop(self, grace_s: float | None) -> None:
        """It is asked to stop: drain."""
        if self.core.is_draining:
            return
        self._world.saw("worker drains")
        drain_s = self.post.drain_s if grace_s is None else min(self.post.drain_s, grace_s)
        self._send(wire.Leaving())
        self._carry(self.core.drain())
        self.after(drain_s, self._depart)
        self._is_flush_due = True

    # What the dispatcher hears.

    def _connect(self) -> None:
        self._dealer = Dealer(self.post.network, self.worker_id, self, self.post.door, self._connected, self._hear)
        self._is_connected = False
        self._last_heard = self.clock.now

    def _connected(self) -> None:
        self._is_connected = True
        self._introduce()

    def _rejoin(self) -> None:
        self._world.saw("worker rejoins")
        self._carry(self.core.abandon())
        self._outbox.clear()
        self._given_back = []
        self._is_welcome = False
        self.worker_id = self._world.new_id(self.post.place)
        self._renew_connection()

    def _renew_connection(self) -> None:
        if self._dealer is not None:
            self._dealer.close()
        self._connect()

    def _introduce(self) -> None:
        self._is_welcome = False
        post, core = self.post, self.core
        self._send(
            wire.Hello(
                protocol=wire.PROTOCOL,
                worker=self.worker_id,
                name=post.place,
                host="h",
                pid=1,
                mode=post.mode,
                slots=post.slots,
                python="3.11",
                dill="0.4",
                held=_leases(core.held),
                done=_leases(core.unacknowledged),
                tree=post.tree,
                path=post.path,
                is_draining=core.is_draining,
                said=self._talk.said + 1,
            )
        )

    def _beat(self) -> None:
        """To the supervisor and to the dispatcher in the same moment."""
        self.post.beat()
        if self.clock.now - self._last_heard > self._window_s:
            self._world.saw("worker reconnects")
            self._renew_connection()
        if self._is_connected:
            self._send(wire.Beat(self.core.busy(), self._talk.said))
        self._last_beat = self.clock.now
        self._look()
        self._is_flush_due = True
        self.after(self._beat_s, self._beat)

    def _tell(self, effect: NeedCode | Deliver | GiveBack) -> None:
        match effect:
            case Deliver(outcome):
                if self._is_welcome:
                    self._outbox.put(outcome)
            case NeedCode(digests):
                if self._is_welcome:
                    self._send(wire.NeedCode(digests))
            case GiveBack(leases):
                self._given_back += leases
        self._is_flush_due = True

    def _flush(self) -> None:
        self._is_flush_due = False
        if self._is_welcome:
            if self._given_back:
                self._send(wire.GaveBack(self._given_back))
                self._given_back = []
            while batch := self._outbox.batch(self.core.unacknowledged):
                self._send(wire.Done(batch))
            self._send_grant()
        if self.core.is_draining and self.core.is_empty() and not self._given_back:
            self._depart()

    def _send_grant(self) -> None:
        if self.post.mode is wire.Mode.PULL:
            tasks = self.core.capacity()
            if tasks != self._granted:
                self._send(wire.Grant(tasks))
                self._granted = tasks
                self._world.granted(self.worker_id, tasks)

    def _send(self, message: wire.FromWorker) -> None:
        self._talk.says(message)
        if not isinstance(message, wire.Beat):
            self._world.saw(SAID[type(message)])
        if self._dealer is not None:
            self._dealer.send(message)

    def _depart(self) -> None:
        undone = [*self.core.held, *self.core.unacknowledged]
        self._send(wire.Leaving(is_final=True, undone=_leases(undone)))
        if self._dealer is not None:
            self._dealer.close()
            self._dealer = None
        self._world.saw("worker departs" + (" with work undone" if undone else ""))
        self.end(SHUTDOWN)

    # What the dispatcher says.

    def _hear(self, message: wire.ToWorker) -> None:
        self._last_heard = self.clock.now
        is_lossy = self._talk.hears(message, is_welcome=self._is_welcome)
        if not isinstance(message, wire.Reflect):
            self._fold(message)
            self._is_flush_due = True
        if is_lossy:
            self._world.saw("worker misses words")
            self._introduce()

    def _fold(self, message: wire.ToWorker) -> None:
        match message:
            case wire.Run(tasks):
                if self._is_welcome:
                    self._carry(self.core.accept(tasks))
                else:
                    self._world.saw("run ignored before the welcome")
            case wire.Ack(leases):
                self._carry(self.core.acknowledge(leases))
            case wire.Code(functions):
                self._carry(self.core.learn(functions))
            case wire.Recall(count):
                self._carry(self.core.recall(count))
            case wire.Drop(leases):
                self._carry(self.core.drop(leases))
            case wire.Welcome():
                self._beat_s, self._window_s = message.beat_interval_s, message.window_s
                self._is_welcome = True
                self._granted = -1
                self._outbox.clear()
                self._carry(self.core.resume())
            case wire.WhoAreYou():
                self._introduce()
            case wire.Refused(reason):
                raise AssertionError(reason)


def _leases(keys: Iterable[Key]) -> list[wire.Lease]:
    return [wire.Lease(task_id, attempt) for task_id, attempt in keys]
