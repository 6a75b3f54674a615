"""Core: a worker's process on paper: the real ``Slots``, ``Judge``, ``Talk`` and ``Outbox``, in a model of ``actors/worker.py`` and
``actors/crew.py``.

What is left out: memory, output, stop signals; and damage other than that a message does not arrive.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol, get_args

from regrow.actors import wire
from regrow.actors.effects import Death, Deliver, Effect, Feed, GiveBack, GiveUp, Kill, Measure, NeedCode, Spawn, Steal
from regrow.actors.judge import Judge, Usage
from regrow.actors.outbox import Outbox
from regrow.actors.packets import Answer
from regrow.actors.slot import Key
from regrow.actors.slots import Slots
from regrow.actors.talk import Talk
from regrow.actors.task import WorkerId
from regrow.chaos.simulation.chance import Chance
from regrow.chaos.simulation.clock import Callback, Clock
from regrow.chaos.simulation.network import Dealer, Hears, Path
from regrow.chaos.simulation.pace import SLOT_LOOKS, SLOT_START_S
from regrow.chaos.simulation.process import KILLED, Process
from regrow.chaos.simulation.slot import Call, SlotProcess, Witness
from regrow.chaos.simulation.task_plan import Life
from regrow.runtime.spec import ExitReason, Heartbeat, ReasonKind

SAID = {kind: f"said {kind.__name__}" for kind in get_args(wire.FromWorker)}
SHUTDOWN = ExitReason(ReasonKind.SHUTDOWN)


class Surroundings(Protocol):
    """What a worker needs of its world."""

    clock: Clock
    dice: Chance
    witness: Witness

    def saw(self, what: str) -> None:
        """Something of interest has happened."""
        ...

    def new_id(self, place: str) -> WorkerId:
        """Of a worker at this place."""
        ...

    def life_of(self, params: bytes) -> Life:
        """The task with these parameters."""
        ...

    def granted(self, worker: WorkerId, tasks: int) -> None:
        """When this is said."""
        ...


class Post(Protocol):
    """What a worker's place in a tree gives it; outside of a tree, what stands for that."""

    place: str
    tree: str
    path: str
    mode: wire.Mode
    slots: int
    drain_s: float
    network: Path

    @property
    def door(self) -> Callable[[], Hears | None]:
        """Who answers at its dispatcher's endpoint."""
        ...

    def ready(self) -> None:
        """Its first slot is ready."""
        ...

    def beat(self) -> None:
        """A beat for its supervisor."""
        ...


class WorkerProcess(Process):
    """One incarnation of a worker."""

    def __init__(self, world: Surroundings, post: Post) -> None:
        super().__init__(world.clock, post.place)
        self.post = post
        self.core = Slots(post.slots)
        self.slots: dict[int, SlotProcess] = {}
        self._world = world
        self.worker_id = world.new_id(post.place)
        self._outbox = Outbox()
        self._talk = Talk()
        self._judge = Judge(self.core, 2)
        self._given_back: list[wire.Lease] = []
        self._granted = -1
        self._beat_s, self._window_s = Heartbeat().interval_s, Heartbeat().window_s
        self._last_heard = self._last_beat = self.clock.now
        self._is_connected = self._is_welcome = self._is_flush_due = self._is_judge_due = False
        self._judge_at: float | None = None
        self._stopped: Counter[SlotProcess] = Counter()
        self._is_ready = False
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

    def _look(self) -> None:
        stopped = [slot for slot in self.slots.values() if slot.is_frozen]
        if not stopped and not self._stopped:
            return
        self._stopped = Counter({slot: self._stopped[slot] + 1 for slot in stopped})
        for slot in stopped:
            if self._stopped[slot] >= SLOT_LOOKS:
                self._world.saw("slot found stopped")
                self._carry(self.core.condemn(slot.number, "it was stopped (SIGSTOP)"))

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

    # The slots.

    def _carry(self, effects: list[Effect]) -> None:
        todo = effects[::-1]
        while todo:
            todo.extend(reversed(self._carry_one(todo.pop())))
        if self.core.has_bounds and not self._is_judge_due:
            self._is_judge_due = True
            self.after(0.0, self._judge_all)

    def _carry_one(self, effect: Effect) -> list[Effect]:
        match effect:
            case Feed(number, turn, digest, params, code):
                job = self.core.slots[number].fed[turn]
                life = self._world.life_of(params)
                self.slots[number].feed(Call(turn, digest, code is not None, life, job.task.attempt))
            case Deliver() | NeedCode() | GiveBack():
                self._tell(effect)
            case Steal(number):
                unread = self.slots[number].unread()
                return self.core.stolen(number, unread, self._answers(self.slots[number]))
            case Spawn(number, delay_s):
                if delay_s:
                    self.after(delay_s, partial(self._spawn, number))
                else:
                    self._spawn(number)
            case Kill(number):
                if number in self.slots:
                    self.slots[number].end(KILLED)
            case Measure(number):
                return self._judge.measured(number, Usage(), self.clock.now)
            case GiveUp(note):
                self.end(ExitReason(ReasonKind.EXCEPTION, "StartFailed", note))
        return []

    def _judge_all(self) -> None:
        effects = self._judge.judge(self.clock.now)
        self._is_judge_due = True
        self._carry(effects)
        self._is_judge_due = False
        if effects:
            self._is_judge_due = True
            self.after(0.0, self._judge_all)
            return
        due = self._judge.next_deadline()
        if due is not None and (self._judge_at is None or self._judge_at > due or self._judge_at <= self.clock.now):
            self._judge_at = due
            self.after(max(0.0, due - self.clock.now), self._judge_all)

    def _spawn(self, number: int) -> None:
        world = self._world
        slot = SlotProcess(self.clock, f"{self.name}/slot-{number}", number, self, world.witness, world.dice)
        self.slots[number] = slot
        self.below = list(self.slots.values())
        slot.mourners.append(lambda reason: self.hear(partial(self._slot_ended, slot, reason)))
        slot.after(0.04 + 0.1 * world.dice.random(), partial(self._slot_starts, slot))
        self.after(SLOT_START_S, partial(self._slot_late, slot))

    def _slot_starts(self, slot: SlotProcess) -> None:
        self.hear(partial(self._slot_ready, slot))
        slot.ready()

    def _slot_ready(self, slot: SlotProcess) -> None:
        if self.slots.get(slot.number) is slot:
            self._carry(self.core.ready(slot.number))
            self._is_flush_due = True
            if not self._is_ready:
                self._is_ready = True
                self.post.ready()

    def _slot_late(self, slot: SlotProcess) -> None:
        if self.slots.get(slot.number) is slot and self.core.is_starting(slot.number):
            self._carry(self.core.condemn(slot.number, "it was not ready in time"))

    def slot_answered(self, slot: SlotProcess) -> None:
        """A slot's answer has come."""
        self.hear(partial(self._slot_answered, slot))

    def _slot_answered(self, slot: SlotProcess) -> None:
        if self.slots.get(slot.number) is slot and slot.answers:
            self._carry(self.core.ended(slot.number, self._answers(slot)))

    def _answers(self, slot: SlotProcess) -> list[tuple[int, Answer]]:
        answers = list(slot.answers)
        slot.answers.clear()
        return answers

    def _slot_ended(self, slot: SlotProcess, reason: ExitReason) -> None:
        if self.slots.get(slot.number) is not slot:
            return
        answers, unread = self._answers(slot), slot.unread()
        del self.slots[slot.number]
        self._world.saw("slot died" + (" with unread tasks" if unread else ""))
        self._carry(self.core.exited(slot.number, unread, answers, Death(str(reason))))
        self._is_flush_due = True


def _leases(keys: Iterable[Key]) -> list[wire.Lease]:
    return [wire.Lease(task_id, attempt) for task_id, attempt in keys]
