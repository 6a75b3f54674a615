"""Core: one supervision tree on paper: which processes there are, who starts them, and how they reach each other."""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from regrow.actors import stimuli as dispatch_stimuli
from regrow.actors.wire import Mode
from regrow.chaos.simulation.chance import Chance
from regrow.chaos.simulation.clock import Clock
from regrow.chaos.simulation.crew import Surroundings as WorkerSurroundings
from regrow.chaos.simulation.dispatcher import DispatcherProcess
from regrow.chaos.simulation.gateway import Gateway
from regrow.chaos.simulation.network import Hears, Path
from regrow.chaos.simulation.pace import DRAIN_S, TREE_SETTLE_S
from regrow.chaos.simulation.posts import DispatcherPost, Seat, WorkerPost
from regrow.chaos.simulation.process import Process
from regrow.chaos.simulation.server import Line, Server
from regrow.chaos.simulation.supervisor import NO_PROCESS, TRIP_S, SupervisorProcess, Told
from regrow.chaos.simulation.worker import WorkerProcess
from regrow.runtime.spec import ChildKind, ChildSpec, ExitReason, Intensity, ReasonKind, SupervisorSpec

FAILED_START: Final = ExitReason(ReasonKind.EXIT, "1")
HINTS: Final[dict[str, dispatch_stimuli.Hint]] = {
    "work": dispatch_stimuli.Woken(),
    "due": dispatch_stimuli.TimersChanged(),
    "drops": dispatch_stimuli.DropsWaiting(),
}


class World(WorkerSurroundings, Protocol):
    """What a tree needs of its world."""

    is_over: bool
    round_s: float
    base_s: float

    def server(self) -> Server | None:
        """The store's server that runs now."""
        ...

    def new_server(self) -> Server:
        """Another one, on the same data."""
        ...

    def subscribe(self, dispatcher: DispatcherProcess) -> None:
        """To the store's hints."""
        ...

    def token(self, dispatcher: str) -> str:
        """Of a new incarnation."""
        ...

    def acknowledging(self, dispatcher: str, leases: list) -> None:  # type: ignore[type-arg]
        """Before this is said to a worker."""
        ...

    def folded(self, dispatcher: DispatcherProcess) -> None:
        """After each step of a core."""
        ...


class Tree:
    """Root, its dispatcher, pool of workers and gateway; and its own store, if it has one."""

    def __init__(self, world: World, name: str, mode: Mode, workers: int, slots: int, *, has_store: bool) -> None:
        self.world = world
        self.name = name
        self.mode = mode
        self.size = workers
        self.slots = slots
        self.root: SupervisorProcess | None = None
        self.pool: SupervisorProcess | None = None
        self.dispatcher: DispatcherProcess | None = None
        self.gateway: Gateway | None = None
        self.workers: dict[str, WorkerProcess] = {}
        self.paths: dict[str, Path] = {}
        self.failing_until = self.slow_until = 0.0  # starts
        self.starts = 0
        self._has_store = has_store

    @property
    def clock(self) -> Clock:
        return self.world.clock

    @property
    def dice(self) -> Chance:
        return self.world.dice

    def start(self) -> None:
        """As an operator does."""
        if self.world.is_over:
            return
        self.starts += 1
        self.root = SupervisorProcess(
            self.clock, f"{self.name}/root", self._root_spec(), self._spawn, self._ask, self.dice
        )
        self.root.saw = self.world.saw
        self.root.mourners.append(self._ended)
        self.root.begin()

    def door(self) -> Hears | None:
        """Who answers at the dispatcher's endpoint."""
        dispatcher = self.dispatcher
        return dispatcher if dispatcher is not None and dispatcher.is_alive else None

    def line(self, process: Process) -> Line:
        """A new connection to the store."""
        return Line(process, self.world.server, self.dice, self.world.base_s / 4, self.world.saw)

    def path_of(self, place: str) -> Path:
        """The network at a place."""
        path = self.paths.get(place)
        if path is None:
            path = self.paths[place] = Path(self.clock, self.dice, self.world.base_s)
        return path

    def living(self) -> list[WorkerProcess]:
        """Workers, by place."""
        return [worker for _, worker in sorted(self.workers.items()) if worker.is_alive]

    def subscribe(self, dispatcher: DispatcherProcess) -> None:
        """To the store's hints."""
        self.world.subscribe(dispatcher)

    def monitor(self, ref: int, path: str) -> None:
        """A Monitor goes up to the root, down to the pool, and its Down comes back the same way."""
        dispatcher, root, pool = self.dispatcher, self.root, self.pool
        if dispatcher is None or root is None:
            return
        child = path.rpartition("/")[2]

        def told(reason: ExitReason) -> None:
            self.clock.after(
                2 * TRIP_S, lambda: root.hear(lambda: dispatcher.hear(partial(dispatcher.down, ref, reason)))
            )

        self.clock.after(TRIP_S, lambda: root.hear(partial(_descend, pool, child, ref, told)))

    def demonitor(self, ref: int) -> None:
        """Forget it."""
        if self.pool is not None:
            self.pool.hear(partial(self.pool.demonitor, ref))

    # What the tree is made of (actors/system.py).

    def _root_spec(self) -> SupervisorSpec:
        store = (ChildSpec("store", "m:S", shutdown_s=30.0, start_timeout_s=120.0),) if self._has_store else ()
        children = (
            ChildSpec("dispatcher", "m:D", shutdown_s=DRAIN_S + TREE_SETTLE_S),
            ChildSpec("workers", "m:P", kind=ChildKind.SUPERVISOR, shutdown_s=None, start_timeout_s=60.0),
            ChildSpec("gateway", "m:G", shutdown_s=DRAIN_S),
        )
        return SupervisorSpec(store + children, intensity=Intensity(20, 10.0))

    def _pool_spec(self) -> SupervisorSpec:
        worker = ChildSpec("worker", "m:W", shutdown_s=DRAIN_S + TREE_SETTLE_S)
        return SupervisorSpec(
            pool=worker, size=self.size, intensity=Intensity(10, 10.0), pool_intensity_per_child=5, max_size=4096
        )

    def _spawn(self, supervisor: SupervisorProcess, spec: ChildSpec, incarnation: int) -> Process:
        seat = Seat(supervisor, spec.id, incarnation)
        match spec.id:
            case "store":
                return self._spawn_store(seat)
            case "dispatcher":
                return self._spawn_dispatcher(seat)
            case "workers":
                return self._spawn_pool(seat)
            case "gateway":
                return self._spawn_gateway(seat)
        return self._spawn_worker(seat)

    def _spawn_store(self, seat: Seat) -> Server:
        server = self.world.new_server()
        self._boot(server, 0.1, partial(self._open_store, server, seat))
        return server

    def _open_store(self, server: Server, seat: Seat) -> None:
        server.is_up = True
        seat.ready()
        self._beat_for_ever(server, seat)

    def _spawn_dispatcher(self, seat: Seat) -> DispatcherProcess:
        name = f"{self.name}/dispatcher"
        post = DispatcherPost(self, name, self.name, seat)
        dispatcher = DispatcherProcess(self.world, post, self.world.token(name))
        self._boot(dispatcher, 0.15, partial(self._open_door, dispatcher))
        return dispatcher

    def _open_door(self, dispatcher: DispatcherProcess) -> None:
        self.dispatcher = dispatcher
        dispatcher.begin()

    def _spawn_pool(self, seat: Seat) -> SupervisorProcess:
        pool = SupervisorProcess(
            self.clock, f"{self.name}/workers", self._pool_spec(), self._spawn, self._ask, self.dice
        )
        pool.ready, pool.beat, pool.saw = seat.ready, seat.beat, self.world.saw
        self.pool = pool
        self._boot(pool, 0.05, pool.begin)
        pool.mourners.append(pool.bereave)
        return pool

    def _spawn_gateway(self, seat: Seat) -> Gateway:
        gateway = Gateway(self.clock, f"{self.name}/gateway", self.line)
        self._boot(gateway, 0.2, partial(self._open_gateway, gateway, seat))
        return gateway

    def _open_gateway(self, gateway: Gateway, seat: Seat) -> None:
        self.gateway = gateway
        gateway.is_open = True
        seat.ready()
        self._beat_for_ever(gateway, seat)

    def _spawn_worker(self, seat: Seat) -> WorkerProcess:
        place = f"{self.name}/{seat.child}"
        post = WorkerPost(
            place, self.name, f"root/workers/{seat.child}", self.mode, self.slots, self.path_of(place), self.door, seat
        )
        worker = self.workers[place] = WorkerProcess(self.world, post)
        self._boot(worker, 0.1, worker.begin)
        return worker

    def hire(self, place: str) -> None:
        """A worker outside of any tree; it is started again by hand, some time after its end."""
        if self.world.is_over:
            return
        post = WorkerPost(place, "", "", self.mode, self.slots, self.path_of(place), self.door)
        worker = self.workers[place] = WorkerProcess(self.world, post)
        worker.mourners.append(lambda _: self.clock.after(0.5 + 3 * self.dice.random(), partial(self.hire, place)))
        worker.after(0.1, worker.begin)

    def _boot(self, process: Process, mean_s: float, begin: Callable[[], None]) -> None:
        """Interpreters take their time, and may fail."""
        boot_s = mean_s * (0.5 + self.dice.random())
        if self.clock.now < self.failing_until:
            process.after(boot_s, partial(process.end, FAILED_START))
        else:
            process.after(boot_s + (12.0 if self.clock.now < self.slow_until else 0.0), begin)

    def _beat_for_ever(self, process: Process, seat: Seat) -> None:
        seat.beat()
        process.after(1.0, partial(self._beat_for_ever, process, seat))

    def _ask(self, process: Process, grace_s: float | None) -> None:
        """Stop, and SIGTERM."""
        match process:
            case WorkerProcess() | DispatcherProcess():
                process.stop(grace_s)
            case SupervisorProcess():
                process.stop()
            case _:
                process.end(ExitReason(ReasonKind.SHUTDOWN))

    def _ended(self, _: ExitReason) -> None:
        self.clock.after(0.5 + 2.5 * self.dice.random(), self.start)


def _descend(pool: SupervisorProcess | None, child: str, ref: int, told: Told) -> None:
    if pool is None or not pool.is_alive:
        told(NO_PROCESS)
    else:
        pool.hear(partial(pool.monitor, child, ref, told))
