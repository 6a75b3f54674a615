"""Core: everything of one simulation, wired together: trees, store, client, faults, history, one clock and one seeded chance."""

from collections import Counter
from functools import partial
from typing import Final

from regrow.actors import wire
from regrow.actors.records import CancelVerdict
from regrow.actors.task import State, TaskId, WorkerId
from regrow.chaos.simulation import audit
from regrow.chaos.simulation.causes import Causes
from regrow.chaos.simulation.chance import Chance
from regrow.chaos.simulation.clock import Clock
from regrow.chaos.simulation.dispatcher import DispatcherProcess
from regrow.chaos.simulation.faults import Faults
from regrow.chaos.simulation.gateway import Client, Gateway
from regrow.chaos.simulation.history import History, Violation, story
from regrow.chaos.simulation.load import Load
from regrow.chaos.simulation.scenario import Scenario, Step
from regrow.chaos.simulation.server import Server
from regrow.chaos.simulation.slot import Witness
from regrow.chaos.simulation.store import ModelStore
from regrow.chaos.simulation.store_record import Submission
from regrow.chaos.simulation.task_plan import Life
from regrow.chaos.simulation.trace import Trace
from regrow.chaos.simulation.tree import HINTS, Tree
from regrow.runtime.spec import ExitReason

KEPT_S: Final = 60.0  # how long ended tasks are kept, and read again
LISTENS_S: Final = 0.5  # between tries to subscribe again


class World:
    """``step`` has the next thing happen; Violation is raised from there."""

    def __init__(self, scenario: Scenario, trace: Trace) -> None:
        self.scenario = scenario
        self.clock = Clock()
        self.dice = Chance(f"world {scenario.seed}")
        self.trace = trace
        self.seen: Counter[str] = Counter()
        self.causes = Causes()
        self.is_over = False
        self.round_s, self.base_s = scenario.round_s, scenario.base_s
        self.history = History(self.clock, self.causes, trace, self.saw)
        self.witness: Witness = self.history
        self.history.is_wild = scenario.is_wild
        self.history.on_end = self._ended
        self.store = ModelStore(self.history, self._publish, self.dice.random)
        self.trees = [
            Tree(self, f"t{n}", scenario.mode, scenario.workers, scenario.slots, has_store=scenario.trees == 1)
            for n in range(scenario.trees)
        ]
        self.faults = Faults(self.clock, self.causes, self.trees, self.server, self.saw, self._violate, self.dice)
        client = Client(self.clock, self._gateways, self.dice, self._accepted, self._cancelled, self.saw)
        self.load = Load(scenario, self.clock, self.history.lives, client)
        self._server: Server | None = None
        self._subscribed: list[DispatcherProcess] = []
        self._deaf: set[DispatcherProcess] = set()
        self._granted: dict[WorkerId, int] = {}
        self._ids = 0
        self._begin()

    def _begin(self) -> None:
        if self.scenario.trees > 1:
            self._open_store()
        for tree in self.trees:
            tree.start()
        for n in range(self.scenario.outsiders):
            self.trees[0].hire(f"t0/outsider-{n}")
        for step in self.scenario.steps:
            self.clock.at(step.at_s, partial(self._strike, step))
        self.load.begin()
        self._audit()

    def _strike(self, step: Step) -> None:
        self.trace.note(
            self.clock.now, f"FAULT {step.kind} for {step.for_s:.3f} s, tree {step.tree}, place {step.place}"
        )
        self.faults.strike(step)

    # What the processes need.

    def saw(self, what: str) -> None:
        """Something of interest has happened."""
        self.seen[what] += 1

    def new_id(self, place: str) -> WorkerId:
        """Unique."""
        self._ids += 1
        worker = WorkerId(f"{place}@h/{self._ids}")
        self.history.places[worker] = place
        self.trace.note(self.clock.now, f"worker {worker}")
        return worker

    def token(self, dispatcher: str) -> str:
        """Unique too, and without the sign that ends a claim's series."""
        self._ids += 1
        self.trace.note(self.clock.now, f"dispatcher {dispatcher} {self._ids}")
        return f"{dispatcher}/{self._ids}"

    def life_of(self, params: bytes) -> Life:
        """The task with these parameters."""
        return self.history.life_of(params)

    def server(self) -> Server | None:
        """The one that runs."""
        return self._server

    def new_server(self) -> Server:
        """On the same data."""
        self._server = Server(self.clock, "store", self.store)
        return self._server

    def acknowledging(self, dispatcher: str, leases: list[wire.Lease]) -> None:
        """The store has these outcomes, or has refused them for good."""
        for lease in leases:
            record = self.store.tasks.get(lease.task_id)
            is_open = record is not None and record.status is State.RUNNING and record.attempt == lease.attempt
            if record is not None and is_open and record.owner == dispatcher:
                life = self.history.lives[int(record.params)]
                raise Violation("ack_after_store", f"an outcome of {story(life)} is acknowledged before it is stored")

    def folded(self, dispatcher: DispatcherProcess) -> None:
        """After each step of a dispatcher."""
        if self.scenario.workers <= SMALL:
            audit.check_capacity(dispatcher, self._granted)

    def granted(self, worker: WorkerId, tasks: int) -> None:
        """What a worker says that it is willing to hold."""
        self._granted[worker] = max(tasks, self._granted.get(worker, 0))

    def subscribe(self, dispatcher: DispatcherProcess) -> None:
        """To the store's hints."""
        self._subscribed = [one for one in self._subscribed if one.is_alive]
        self._subscribed.append(dispatcher)
        self._listen_again(dispatcher)

    # The store.

    def _open_store(self) -> None:
        """One that nobody supervises: a person starts it again."""
        server = self.new_server()
        server.is_up = True
        server.mourners.append(self._store_ended)

    def _store_ended(self, _: ExitReason) -> None:
        self.clock.after(0.2 + self.dice.random(), self._open_store)

    def _publish(self, hint: str) -> None:
        for dispatcher in self._subscribed:
            if dispatcher.is_alive and dispatcher not in self._deaf:
                self.clock.after(self.base_s, partial(self._hint, dispatcher, hint))

    def _hint(self, dispatcher: DispatcherProcess, hint: str) -> None:
        """A subscription that was lost may have missed anything: it gets every hint when there is one again."""
        server = self._server
        if server is None or not server.is_up or not server.is_alive or server.is_frozen or dispatcher.line.is_cut:
            self._listen_again(dispatcher)
        else:
            dispatcher.hear(partial(dispatcher.hint, HINTS[hint]))

    def _listen_again(self, dispatcher: DispatcherProcess) -> None:
        if dispatcher not in self._deaf:
            self._deaf.add(dispatcher)
            self.clock.after(LISTENS_S * self.dice.random(), partial(self._try_listening, dispatcher))

    def _try_listening(self, dispatcher: DispatcherProcess) -> None:
        self._deaf.discard(dispatcher)
        if dispatcher.is_alive:
            for hint in HINTS:
                self._hint(dispatcher, hint)

    # The client.

    def _gateways(self) -> list[Gateway]:
        return [tree.gateway for tree in self.trees if tree.gateway is not None and tree.gateway.is_alive]

    def _accepted(self, tasks: list[Submission]) -> None:
        for task in tasks:
            life = self.history.lives.get(int(task.params))
            if life is not None and not life.is_acknowledged:
                life.is_acknowledged = True
                self.history.acknowledged += 1
                self.history.open += life.end is None

    def _cancelled(self, task_id: TaskId, verdict: CancelVerdict) -> None:
        life = self.history.lives.get(int(task_id))
        self.saw(f"cancel {verdict}")
        if life is not None and verdict is CancelVerdict.CANCELLED and life.kind_of_end != "cancelled":
            raise Violation("one_terminal", f"{story(life)} was cancelled, by the store's word")

    def _ended(self, life: Life) -> None:
        self.clock.after(KEPT_S * (0.5 + self.dice.random()), partial(self._read_at_last, life))

    def _read_at_last(self, life: Life) -> None:
        record = self.store.tasks[TaskId(str(life.number))]
        if (record.kind, record.value) != (life.kind_of_end, life.value):
            raise Violation("one_terminal", f"{story(life)} is read as {record.kind} later")
        if life.active or not life.is_acknowledged:
            self.clock.after(KEPT_S, partial(self._read_at_last, life))
            return
        self.store.forget(record.task_id)
        del self.history.lives[life.number]

    # Invariants.

    def _violate(self, invariant: str, detail: str) -> None:
        raise Violation(invariant, detail)

    def _audit(self) -> None:
        """From time to time; of a large world, rarely."""
        dispatchers = [tree.dispatcher for tree in self.trees if tree.dispatcher is not None]
        audit.check_tables(dispatchers, self.trees)
        audit.check_store(self.store)
        self.clock.after(1.0 if self.scenario.workers <= SMALL else 60.0, self._audit)


SMALL: Final = 20  # workers, up to which everything is looked at often
