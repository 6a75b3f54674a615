"""Core: how each kind of fault is done to the processes and paths of a world, and what it is the cause of from then on."""

from collections.abc import Callable
from functools import partial
from typing import Final

from regrow.chaos.simulation.causes import Causes
from regrow.chaos.simulation.chance import Chance
from regrow.chaos.simulation.clock import Clock
from regrow.chaos.simulation.network import Path, Way
from regrow.chaos.simulation.process import KILLED, Process
from regrow.chaos.simulation.scenario import FaultKind, Step
from regrow.chaos.simulation.server import Line, Server
from regrow.chaos.simulation.slot import SlotProcess
from regrow.chaos.simulation.supervisor import SupervisorProcess
from regrow.chaos.simulation.tree import Tree
from regrow.chaos.simulation.worker import WorkerProcess

DETECTED_S: Final = 4.6  # beat, window, and a look: by then a frozen child of a healthy supervisor has been killed
AFTER_S: Final = 6.0  # so much later an undone fault may still have effects
SHORT_S: Final = 1.0


class Faults:
    """Carries out steps.  ``hit`` counts them by kind and by what the victim was doing."""

    def __init__(
        self,
        clock: Clock,
        causes: Causes,
        trees: list[Tree],
        server: Callable[[], Server | None],
        hit: Callable[[str], None],
        violated: Callable[[str, str], None],
        dice: Chance,
    ) -> None:
        self._clock = clock
        self._causes = causes
        self._trees = trees
        self._server = server
        self._hit = hit
        self._violated = violated
        self._dice = dice

    def strike(self, step: Step) -> None:
        """Do it, unless there is no victim."""
        tree = self._trees[step.tree % len(self._trees)]
        group = step.kind.partition(".")[0]
        match group:
            case "worker" | "slot":
                self._strike_worker(step, tree)
            case "link":
                self._strike_link(step, tree)
            case "store":
                self._strike_store(step, tree)
            case "machine":
                self._suspend(step, tree)
            case "partition":
                self._partition(step, tree)
            case _:
                self._strike_tree(step, tree)

    def _note(self, step: Step, name: str, for_s: float, state: str = "") -> None:
        now = self._clock.now
        self._causes.note(name, now, now + for_s + AFTER_S)
        self._hit(f"fault {step.kind}" + (f" x {state}" if state else ""))

    # Workers and their slots.

    def _strike_worker(self, step: Step, tree: Tree) -> None:
        workers = tree.living()
        if not workers:
            return
        worker = workers[step.place % len(workers)]
        state = "frozen" if worker.is_frozen else "running" if worker.core.busy() else "idle"
        if worker.core.is_draining:
            state = "draining"
        if step.kind in (FaultKind.SLOT_KILL, FaultKind.SLOT_FREEZE):
            self._strike_slot(step, worker)
            return
        self._note(step, worker.name, step.for_s, state)
        if step.kind is FaultKind.WORKER_KILL:
            worker.end(KILLED)
            return
        if step.kind is FaultKind.WORKER_SUSPEND:
            for slot in worker.slots.values():
                slot.freeze(step.for_s)
        self._freeze(worker, step.for_s, tree.pool if worker.post.tree else None)

    def _strike_slot(self, step: Step, worker: WorkerProcess) -> None:
        slots: list[SlotProcess] = list(worker.slots.values())
        if not slots:
            return
        slot = slots[step.place // 7 % len(slots)]
        fed = len(worker.core.slots[slot.number].fed)
        state = "deep" if fed > 1 else "running" if fed else "idle" if slot.is_ready else "starting"
        self._note(step, worker.name, step.for_s, state)
        if step.kind is FaultKind.SLOT_KILL:
            slot.end(KILLED)
        else:
            slot.freeze(step.for_s)

    def _freeze(self, process: Process, for_s: float, supervisor: SupervisorProcess | None) -> None:
        """Of who has not been ready yet, the supervisor waits for the start, as long as its spec allows."""
        process.freeze(for_s)
        if supervisor is not None and for_s > DETECTED_S and supervisor.has_seen_ready(process):
            self._clock.after(DETECTED_S, partial(self._check_detected, process, supervisor, process.frozen_at))

    def _check_detected(self, process: Process, supervisor: Process, frozen_at: float) -> None:
        """A child that is silent for a whole window is killed, unless its supervisor was itself away."""
        is_same = process.is_alive and process.is_frozen and process.frozen_at == frozen_at
        tree = process.name.split("/")[0]
        was_well = not self._causes.between(f"{tree}/tree", frozen_at - AFTER_S, self._clock.now)
        if is_same and supervisor.is_alive and not supervisor.is_frozen and was_well:
            text = f"{process.name} has been frozen for {self._clock.now - frozen_at:.1f} s, and was not killed"
            self._violated("bounded_detection", text)

    # The rest of a tree.

    def _strike_tree(self, step: Step, tree: Tree) -> None:
        whole = f"{tree.name}/tree"
        victims: dict[FaultKind, tuple[Process | None, str]] = {
            FaultKind.DISPATCHER_KILL: (tree.dispatcher, f"{tree.name}/dispatcher"),
            FaultKind.DISPATCHER_FREEZE: (tree.dispatcher, f"{tree.name}/dispatcher"),
            FaultKind.GATEWAY_KILL: (tree.gateway, f"{tree.name}/gateway"),
            FaultKind.POOL_KILL: (tree.pool, whole),
            FaultKind.POOL_FREEZE: (tree.pool, whole),
            FaultKind.POOL_RESIZE: (tree.pool, whole),
            FaultKind.ROOT_KILL: (tree.root, whole),
            FaultKind.ROOT_FREEZE: (tree.root, whole),
            FaultKind.TREE_STOP: (tree.root, whole),
            FaultKind.START_FAIL: (tree.root, whole),
            FaultKind.START_SLOW: (tree.root, whole),
        }
        victim, name = victims[step.kind]
        if victim is None or not victim.is_alive:
            return
        self._note(step, name, step.for_s + (12.0 if step.kind in LONG else 0.0), "frozen" if victim.is_frozen else "")
        if whole == name or step.kind is FaultKind.DISPATCHER_KILL:
            self._causes.note(f"{tree.name}/dispatcher", self._clock.now, self._clock.now + step.for_s + AFTER_S)
        self._do(step, tree, victim)

    def _do(self, step: Step, tree: Tree, victim: Process) -> None:
        match step.kind:
            case FaultKind.DISPATCHER_FREEZE:
                self._freeze(victim, step.for_s, tree.root)
            case FaultKind.POOL_FREEZE | FaultKind.ROOT_FREEZE:
                victim.freeze(step.for_s)
            case FaultKind.POOL_RESIZE:
                pool = tree.pool
                if pool is not None:
                    size = 1 + int(step.extra * 2 * tree.size)
                    pool.hear(partial(pool.resize, size))
            case FaultKind.TREE_STOP:
                root = tree.root
                if root is not None:
                    root.hear(root.stop)
            case FaultKind.START_FAIL:
                tree.failing_until = self._clock.now + min(step.for_s, SHORT_S)
            case FaultKind.START_SLOW:
                tree.slow_until = self._clock.now + step.for_s
            case _:
                victim.end(KILLED)

    def _suspend(self, step: Step, tree: Tree) -> None:
        """Every process of a tree at once, as a machine that is paused."""
        processes: list[Process | None] = [tree.root, tree.pool, tree.dispatcher, tree.gateway, *tree.workers.values()]
        processes += [slot for worker in tree.living() for slot in worker.slots.values()]
        self._note(step, f"{tree.name}/tree", step.for_s)
        self._causes.note(f"{tree.name}/dispatcher", self._clock.now, self._clock.now + step.for_s + AFTER_S)
        for process in processes:
            if process is not None:
                process.freeze(step.for_s + 0.001 * self._dice.random())

    # The store.

    def _strike_store(self, step: Step, tree: Tree) -> None:
        server = self._server()
        if server is None or not server.is_alive:
            return
        line: Line | None = tree.dispatcher.line if tree.dispatcher is not None else None
        self._note(step, "store", step.for_s + 5.0, "frozen" if server.is_frozen else "")
        match step.kind:
            case FaultKind.STORE_KILL:
                server.end(KILLED)
            case FaultKind.STORE_FREEZE:
                server.freeze(step.for_s)
            case FaultKind.STORE_SLOW:
                server.slow_s = 0.5 * step.extra
                self._clock.after(step.for_s, partial(setattr, server, "slow_s", 0.0))
            case FaultKind.STORE_RESET if line is not None:
                line.shake(min(step.for_s, 2.0))
            case FaultKind.STORE_CUT if line is not None:
                line.cut(step.for_s)

    # The network between workers and dispatchers.

    def _strike_link(self, step: Step, tree: Tree) -> None:
        places = sorted(tree.paths)
        if not places:
            return
        place = places[step.place % len(places)]
        path = tree.paths[place]
        worker = tree.workers.get(place)
        state = "running" if worker is not None and worker.is_alive and worker.core.busy() else "idle"
        self._note(step, place, step.for_s, state)
        match step.kind:
            case FaultKind.LINK_CUT:
                path.cut((Way.OUT, Way.BACK), step.for_s)
            case FaultKind.LINK_ONE_WAY:
                path.cut((Way(step.place // 3 % 2),), step.for_s)
            case FaultKind.LINK_FLAP:
                for at in range(5):
                    self._clock.after(at * step.for_s / 5, partial(path.cut, (Way.OUT, Way.BACK), step.for_s / 10))
            case FaultKind.LINK_RESET:
                path.reset()
            case FaultKind.LINK_DELAY:
                self._tune(path, "delay_s", 0.6 * step.extra, step.for_s)
            case FaultKind.LINK_DAMAGE:
                self._tune(path, "damage", 0.1 + 0.4 * step.extra, step.for_s)
            case FaultKind.LINK_DOUBLE:
                self._tune(path, "double", 0.5, step.for_s)
            case _:
                self._tune(path, "overtake", 0.3, step.for_s)

    def _tune(self, path: Path, what: str, value: float, for_s: float) -> None:
        setattr(path, what, value)
        self._clock.after(for_s, partial(setattr, path, what, 0.0))

    def _partition(self, step: Step, tree: Tree) -> None:
        for at, place in enumerate(sorted(tree.paths)):
            if (at + step.place) % 2:
                self._note(step, place, step.for_s)
                tree.paths[place].cut((Way.OUT, Way.BACK), step.for_s)


LONG: Final = frozenset({FaultKind.TREE_STOP, FaultKind.POOL_RESIZE, FaultKind.START_SLOW})
