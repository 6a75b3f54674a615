"""The dispatcher dies before and after every call to the store and every word to a worker, in its recovery too.

What workers hold over it is adopted and not run again; what nobody holds is requeued one window later; every task ends
once, with its value. Points that ordinary work does not lead to have a way of their own (``WAYS``); a new store call or a
new message without a way fails the first test.
"""

import ast
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count as counting
from pathlib import Path
from types import FunctionType
from typing import get_args

import pytest
import redis

from regrow.actors import keys, store, wire
from regrow.actors.store import Store
from regrow.actors.task import FailureKind, FunctionId, Move, Settlement, TaskId, WorkerId
from regrow.actors.wakes import Hint
from regrow.actors.wire import BATCH_TASKS, Mode
from support.lone_dispatcher import ScriptedWorker
from support.small_tree import NAME, SmallTree, small_tree
from support.tasks import ask, claim
from support.waiting import wait_until

WINDOW_S = 3.0  # in which workers may present what they hold; what nobody holds is requeued then
BACK_S = 10.0  # from the death to the next task's start: the promise is 1 s; a loaded two-core machine gets more
PATIENCE_S = 20.0
NUMBERS = counting(1000)  # of functions
CANCELLED = -1
NOT_THE_DISPATCHERS = {"ping"}  # round trips that only others make


# -- the points, as the code has them


def store_calls() -> set[str]:
    """Every round trip that ``actors/store.py`` makes, by the name of its points."""
    found = set()
    for node in ast.walk(ast.parse(Path(store.__file__).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            first = node.args[0] if node.args else None
            if node.func.attr in ("_trip", "_values") and isinstance(first, ast.Constant):
                found.add(str(first.value))
            elif node.func.attr == "_run" and isinstance(first, ast.Name):
                found.add(getattr(store, first.id).name)
    return found - NOT_THE_DISPATCHERS


def sends() -> set[str]:
    """Every kind of message to workers, by the name of its points."""
    return {f"send.{kind.__struct_config__.tag}" for kind in get_args(wire.ToWorker)}


def points(names: set[str]) -> list[str]:
    return [f"{name}.{place}" for name in sorted(names) for place in ("before", "after")]


# -- the work


def gated(path: str, number: int, gate: str) -> int:
    """Says in a file that it has started; if there is a ``gate``, ends when that file is there."""
    import os
    import time

    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{number} {time.monotonic()}\n".encode())
    os.close(file)
    while gate and not os.path.exists(gate):
        time.sleep(0.005)
    return number * number


def fresh_work() -> Callable[..., int]:
    """The same work as a function of its own, whose bytes no worker has."""
    return FunctionType(gated.__code__.replace(co_firstlineno=next(NUMBERS)), gated.__globals__, "gated")


class Scene:
    """A dispatcher with tasks at two of its four slots, and what is to happen to it."""

    def __init__(self, tree: SmallTree, directory: Path) -> None:
        self.tree = tree
        self.witness, self.gate, self.other_gate = (directory / name for name in ("witness", "gate", "other"))
        self.last_gate = directory / "last"
        self.function = tree.register(fresh_work())
        self.ids: list[TaskId] = []
        self.held = self.submit(2, gate=self.gate)
        self.wait_started(2)

    def submit(
        self, count: int, *, gate: Path | None = None, function: FunctionId | None = None, delay_s: float | None = None
    ) -> list[TaskId]:
        """More tasks: they end at once, or are held until there is a file ``gate``."""
        numbers = range(len(self.ids), len(self.ids) + count)
        calls = [(str(self.witness), number, str(gate or "")) for number in numbers]
        ids = self.tree.submit(function or self.function, *calls, delay_s=delay_s)
        self.ids += ids
        return ids

    def wait_started(self, count: int) -> None:
        """Until so many tasks have started."""
        wait_until(lambda: len(self.started_at()) >= count, PATIENCE_S, f"{count} tasks have started")

    def started_at(self) -> dict[int, list[float]]:
        """When each task was started (monotonic seconds)."""
        times: dict[int, list[float]] = {}
        for line in self.witness.read_text().splitlines() if self.witness.exists() else []:
            number, at = line.split()
            times.setdefault(int(number), []).append(float(at))
        return times

    def probe(self) -> float:
        """When a task started that is submitted now (monotonic seconds)."""
        number = len(self.ids)
        self.submit(1)
        return wait_until(lambda: self.started_at().get(number), PATIENCE_S, "the next task starts")[0]

    def assert_all_ended_once(self, twice: set[int]) -> None:
        """Every value right, every task ended once, and started once, but for those that may have run ``twice``."""
        self.gate.touch()
        self.other_gate.touch()
        numbers = range(len(self.ids))
        assert self.tree.values(self.ids, PATIENCE_S) == [number * number for number in numbers]
        starts = {number: len(times) for number, times in self.started_at().items() if number != CANCELLED}
        assert set(starts) == set(numbers)
        assert {number for number, count in starts.items() if count > 1} <= twice, starts
        assert max(starts.values()) <= 2

    def assert_no_slot_is_lost(self) -> None:
        """As many tasks run at once as there are slots: nothing that was dropped runs on."""
        self.last_gate.unlink(missing_ok=True)
        before = len(self.started_at())
        self.submit(self.tree.slots, gate=self.last_gate)
        self.wait_started(before + self.tree.slots)
        self.last_gate.touch()


Arm = Callable[[], None]
Way = Callable[[Scene, Arm], None]


# -- ways to the points


def by_work(scene: Scene, arm: Arm) -> None:
    """Four tasks of a function that no worker has."""
    arm()
    scene.submit(4, function=scene.tree.register(fresh_work()))


def by_a_crash(scene: Scene, arm: Arm) -> None:
    """It is killed while tasks are queued, and dies again while it recovers."""
    scene.tree.signal(signal.SIGSTOP)
    scene.submit(4)
    arm()
    scene.tree.signal(signal.SIGKILL)


def by_a_stop(scene: Scene, arm: Arm) -> None:
    """It drains, and takes its leave of the store; what is queued meanwhile waits for its successor."""
    arm()
    scene.tree.signal(signal.SIGTERM)
    scene.submit(4)
    scene.gate.touch()


def by_a_stop_with_work_ahead(scene: Scene, arm: Arm) -> None:
    """It drains while tasks that were thought to be quick wait at its workers: they are called back."""
    learnt = scene.submit(5)
    scene.tree.values(learnt, PATIENCE_S)
    scene.submit(12, gate=scene.other_gate)
    scene.wait_started(len(learnt) + scene.tree.slots)
    arm()
    scene.tree.signal(signal.SIGTERM)
    wait_until(scene.tree.fired, PATIENCE_S, "tasks are called back")
    scene.other_gate.touch()


def by_an_inheritance(scene: Scene, arm: Arm, count: int = 3) -> None:
    """Another dispatcher has claimed tasks for a worker of its own, and both are silent."""
    scene.submit(2, gate=scene.other_gate)
    scene.wait_started(scene.tree.slots)
    scene.submit(count)
    with another(scene.tree) as (ghost, client):
        left = count
        while left:
            taken = claim(ghost, left, "ghost", WorkerId("nobody"))
            assert taken
            left -= len(taken)
        arm()
        client.zadd(keys.BEATS, {"ghost": 1})
    wait_until(scene.tree.fired, PATIENCE_S, "the leases are inherited")
    scene.other_gate.touch()


def by_a_large_inheritance(scene: Scene, arm: Arm) -> None:
    """The same, and it takes more than one call."""
    by_an_inheritance(scene, arm, count=BATCH_TASKS + 20)


def by_a_loss_of_its_leases(scene: Scene, arm: Arm) -> None:
    """While it was stopped, another dispatcher inherited its leases; its workers still hold them."""
    scene.tree.signal(signal.SIGSTOP)
    with another(scene.tree) as (heir, client):
        client.zadd(keys.BEATS, {NAME: 1})
        held = heir.inherit("heir", NAME)
        assert {lease.task_id for lease in held} == set(scene.held)
        heir.settle("heir", [Settlement(it.task_id, it.attempt, Move.LOSE_WORKER, it.worker) for it in held])
    arm()
    scene.tree.signal(signal.SIGKILL)


def by_a_stranger(scene: Scene, arm: Arm) -> None:
    """A worker beats that has not introduced itself."""
    with ScriptedWorker(scene.tree.endpoint, "stranger") as stranger:
        arm()
        stranger.say(wire.Beat([]))
        wait_until(scene.tree.fired, PATIENCE_S, "the stranger is heard")


def by_a_misfit(scene: Scene, arm: Arm) -> None:
    """A worker without slots introduces itself."""
    with ScriptedWorker(scene.tree.endpoint, "misfit", slots=0) as misfit:
        arm()
        misfit.hello()
        wait_until(scene.tree.fired, PATIENCE_S, "the misfit is heard")


def by_a_cancel(scene: Scene, arm: Arm) -> None:
    """A task is cancelled that a worker runs; it ends there too, whatever becomes of the word."""
    [cancelled] = scene.tree.submit(scene.function, (str(scene.witness), CANCELLED, "/never"))
    scene.wait_started(len(scene.ids) + 1)
    arm()
    ask(scene.tree.server.url, lambda store: store.cancel([cancelled], 60.0))
    wait_until(scene.tree.fired, PATIENCE_S, "the dispatcher hears of it")
    [record] = scene.tree.ended([cancelled], PATIENCE_S)
    assert record.failure is not None
    assert record.failure.kind is FailureKind.CANCELLED


def by_a_delay(scene: Scene, arm: Arm) -> None:
    """Tasks fall due."""
    arm()
    scene.submit(2, delay_s=0.3)


def by_a_shortage_of_memory(scene: Scene, arm: Arm) -> None:
    """A worker of a memory of its own has a task that has taken all of it."""
    scene.submit(2, gate=scene.other_gate)
    scene.wait_started(scene.tree.slots)
    with ScriptedWorker(scene.tree.endpoint, "short", slots=1) as short:
        short.hello()
        scene.submit(1)
        [task] = short.tasks(1)
        arm()
        use = wire.Use(task.task_id, task.attempt, 1 << 30)
        short.say(wire.Pressure(wire.Level.CRITICAL, 1 << 30, 1 << 30, [use]))
        wait_until(scene.tree.fired, PATIENCE_S, "its task is to be killed")
    scene.other_gate.touch()


def by_the_end_of_orphans(scene: Scene, arm: Arm) -> None:
    """It is killed between a claim and the workers; the next one gives back what nobody has, and dies over it."""
    scene.tree.arm("claim.after")
    scene.submit(2)
    scene.tree.died("claim.after", PATIENCE_S)
    arm()


def by_a_loss_of_the_store(scene: Scene, arm: Arm) -> None:
    """Its connection breaks in the middle of a call: it connects again, and compares its leases with the store's."""
    arm()
    with scene.tree.server.client() as client:
        client.client_pause(10_000, all=False)
        wait_until(lambda: any("b" in it["flags"] for it in client.client_list()), PATIENCE_S, "a call is under way")
        client.client_kill_filter(_type="normal", skipme=True)
        client.client_unpause()


def by_a_function_that_expires(scene: Scene, arm: Arm) -> None:
    """A function has not been called for its time to live: its official record is deleted."""
    function = scene.tree.register(fresh_work())
    with scene.tree.server.client() as client:
        client.zadd(keys.FUNCTION_TIMERS, {function: 1})
        arm()
        client.publish(keys.WAKE, Hint.DUE.value)
    wait_until(scene.tree.fired, PATIENCE_S, "it is forgotten")


def by_a_damaged_id(scene: Scene, arm: Arm) -> None:
    """An id is damaged in the queue: when it is met, its task is searched for, one window after the dispatcher's start."""
    scene.submit(2, gate=scene.other_gate)
    scene.wait_started(scene.tree.slots)
    scene.submit(3)
    with scene.tree.server.client() as client:
        client.lset(keys.QUEUE, 1, b"no id")
    arm()
    scene.other_gate.touch()


@contextmanager
def another(tree: SmallTree) -> Iterator[tuple[Store, redis.Redis]]:
    """The store as another dispatcher sees it, and a look behind it."""
    other = Store.connect(tree.server.url)
    with tree.server.client() as client:
        yield other, client
    other.close()


WAYS: dict[str, Way] = {
    "beat": by_work,
    "check": by_a_crash,
    "claim": by_work,
    "code": by_work,
    "deregister": by_a_stop,
    "dropped": by_a_cancel,
    "drops": by_a_cancel,
    "due": by_a_delay,
    "fence": by_a_crash,
    "forget": by_a_function_that_expires,
    "held": by_a_crash,
    "inherit": by_an_inheritance,
    "leases": by_a_crash,
    "mend": by_a_damaged_id,
    "record": by_a_crash,
    "scan": by_a_damaged_id,
    "send.ack": by_work,
    "send.code": by_work,
    "send.drop": by_a_loss_of_its_leases,
    "send.recall": by_a_stop_with_work_ahead,
    "send.reflect": by_work,
    "send.refused": by_a_misfit,
    "send.run": by_work,
    "send.shed": by_a_shortage_of_memory,
    "send.welcome": by_a_crash,
    "send.who_are_you": by_a_stranger,
    "settle": by_work,
    "walk": by_a_damaged_id,
}
RECOVERIES: list[tuple[Way, set[str]]] = [
    (by_a_crash, {"beat", "claim", "drops", "due", "settle", "send.run"}),
    (by_a_cancel, {"send.drop"}),
    (by_the_end_of_orphans, {"settle"}),
    (by_an_inheritance, {"settle"}),
    (by_a_large_inheritance, {"inherit"}),
    (by_a_loss_of_the_store, {"leases", "held"}),
    (by_a_stop, {"leases", "settle"}),
]
EVERY = [(point, WAYS[name]) for name in sorted(WAYS) for point in points({name})] + [
    (point, way) for way, names in RECOVERIES for point in points(names)
]
UNHELD = {"claim.after", "send.run.before"}  # what was claimed there has reached nobody


@pytest.fixture(
    scope="module",
    params=[Mode.PUSH, *(pytest.param(mode, marks=pytest.mark.slow) for mode in (Mode.PULL, Mode.LOCAL))],
)
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallTree]:
    with small_tree(tmp_path_factory.mktemp(request.param), request.param) as tree:
        yield tree


def test_there_is_a_way_to_every_point_of_the_code() -> None:
    assert set(WAYS) == store_calls() | sends()


@pytest.mark.parametrize(("point", "way"), EVERY, ids=[f"{point}-{way.__name__}" for point, way in EVERY])
def test_a_dispatcher_that_dies_anywhere_loses_nothing_and_runs_nothing_again(
    tree: SmallTree, tmp_path: Path, point: str, way: Way
) -> None:
    completed, given_back = tree.counter("completed"), tree.counter("requeued:give_back")
    scene = Scene(tree, tmp_path)

    way(scene, lambda: tree.arm(point))
    died_at = tree.died(point, PATIENCE_S)
    back_s = scene.probe() - died_at

    assert back_s < BACK_S
    if way is by_a_cancel:
        scene.gate.touch()
        scene.assert_no_slot_is_lost()
    scene.assert_all_ended_once(twice={0, 1} if way is by_a_loss_of_its_leases else set())
    assert tree.counter("completed") - completed == len(scene.ids)
    if point in UNHELD and way is by_work:
        late = [times[0] - died_at for times in scene.started_at().values() if times[0] > died_at + WINDOW_S]
        assert late, "what nobody holds waits for one window"
        assert max(late) < WINDOW_S + BACK_S
        assert tree.counter("requeued:give_back") - given_back == len(late)
