"""What says where a task is, is damaged or deleted in the store under a running tree: every task ends, once, with its value.

Nothing is damaged here but the queue, the timers and the leases: the records are whole, so no task may end as corrupt_payload.
"""

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import FunctionType

import pytest
import redis

from regrow.actors import keys, wire
from regrow.actors.store import Store
from regrow.actors.task import FailureKind, FunctionId, State, TaskId, TaskRecord, WorkerId
from regrow.actors.wire import Mode
from support.functions import call
from support.lone_dispatcher import ScriptedWorker, lone_dispatcher
from support.small_tree import NAME, SmallTree, small_tree
from support.tasks import ask, claim, read, register, submit
from support.valkey import DURABLE, Valkey, valkey_server
from support.waiting import wait_until

PATIENCE_S = 30.0
DAMAGE_S = 6.0
NUMBERS = count(1000)  # of functions
NOISE = b"\xff what is no id"


def gated(path: str, number: int, gate: str) -> int:
    """Says in a file that it has started; ends when there is a file ``gate``."""
    import os
    import time

    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{number}\n".encode())
    os.close(file)
    while gate and not os.path.exists(gate):
        time.sleep(0.005)
    return number * number


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallTree]:
    with small_tree(tmp_path_factory.mktemp("lost"), Mode.PUSH) as tree:
        yield tree


@pytest.fixture
def client(tree: SmallTree) -> Iterator[redis.Redis]:
    with tree.server.client() as client:
        yield client


class Work:
    """Tasks that tell when they start."""

    def __init__(self, tree: SmallTree, directory: Path) -> None:
        self.tree = tree
        self.witness, self.gate = directory / "witness", directory / "gate"
        code = gated.__code__.replace(co_firstlineno=next(NUMBERS))  # nobody knows yet how long it runs
        self.function: FunctionId = tree.register(FunctionType(code, gated.__globals__, "gated"))
        self.ids: list[TaskId] = []

    def submit(self, many: int, *, is_held: bool = False, max_attempts: int | None = None) -> list[TaskId]:
        """More of them, held until the gate is open, or not."""
        numbers = range(len(self.ids), len(self.ids) + many)
        calls = [call(str(self.witness), number, str(self.gate) if is_held else "") for number in numbers]
        ids = submit(self.tree.server.url, self.function, *calls, max_attempts=max_attempts)
        self.ids += ids
        return ids

    def starts(self) -> list[int]:
        """Of each task so far, in order; the same number twice has started twice."""
        return [int(line) for line in self.witness.read_text().splitlines()] if self.witness.exists() else []

    def wait_started(self, many: int) -> None:
        wait_until(lambda: len(self.starts()) >= many, PATIENCE_S, f"{many} starts")

    def assert_all_end_right(self) -> None:
        """Each with its own value."""
        self.gate.touch()
        assert self.tree.values(self.ids, PATIENCE_S) == [number * number for number in range(len(self.ids))]


@pytest.fixture
def work(tree: SmallTree, client: redis.Redis, tmp_path: Path) -> Work:
    client.delete(keys.COUNTERS)
    return Work(tree, tmp_path)


def test_tasks_whose_ids_are_damaged_in_the_queue_run_when_the_queue_has_been_emptied(
    tree: SmallTree, client: redis.Redis, work: Work
) -> None:
    work.submit(4, is_held=True)
    work.wait_started(4)
    work.submit(12)
    for at in (0, 5, 11):
        client.lset(keys.QUEUE, at, NOISE)

    work.assert_all_end_right()

    assert sorted(work.starts()) == list(range(16)), "each once"
    assert tree.counter("found:queued") == 3
    assert wait_until(lambda: read_missing(tree) == (0, 0), PATIENCE_S, "nothing is missing")


def read_missing(tree: SmallTree) -> tuple[int, int]:
    return ask(tree.server.url, lambda gateway: gateway.missing())


def test_a_queue_that_is_gone_altogether_is_made_anew(tree: SmallTree, client: redis.Redis, work: Work) -> None:
    work.submit(4, is_held=True)
    work.wait_started(4)
    work.submit(300)
    client.delete(keys.QUEUE)

    work.assert_all_end_right()

    assert sorted(work.starts()) == list(range(304))
    assert tree.counter("found:queued") == 300


def test_a_lease_that_is_deleted_while_its_dispatcher_is_dead_does_not_leave_its_task_running_for_ever(
    tree: SmallTree, client: redis.Redis, work: Work
) -> None:
    again, both = work.submit(2, is_held=True)
    [once] = work.submit(1, is_held=True, max_attempts=1)
    work.wait_started(3)

    tree.signal(signal.SIGSTOP)
    client.hdel(keys.leases(NAME), again, once)
    tree.signal(signal.SIGKILL)
    work.wait_started(4)
    work.gate.touch()
    records = {record.task_id: record for record in tree.ended([again, both, once], PATIENCE_S)}

    assert sorted(work.starts()) == [0, 0, 1, 2], "only what may start again has"
    assert [records[task_id].status for task_id in (again, both)] == [State.COMPLETED] * 2
    failure = records[once].failure
    assert failure is not None
    assert failure.kind is FailureKind.WORKER_LOST
    assert client.hget(keys.task(again), "lost") is None, "no worker was lost"
    assert tree.counter("found:leased") == 2


def test_a_lease_that_is_deleted_under_a_dispatcher_is_put_back_and_its_task_runs_on(
    tree: SmallTree, client: redis.Redis, work: Work
) -> None:
    [task_id] = work.submit(1, is_held=True)
    work.wait_started(1)

    client.hdel(keys.leases(NAME), task_id)
    wait_until(lambda: client.hexists(keys.leases(NAME), task_id), PATIENCE_S, "the lease is back")
    wait_until(lambda: not client.hexists("{regrow}:search", f"leases:{NAME}"), PATIENCE_S, "the dispatcher is told")

    work.assert_all_end_right()
    assert work.starts() == [0]


def test_a_lease_that_a_store_comes_back_without_is_made_good(tmp_path: Path) -> None:
    """The dispatcher tells its worker to drop the task; then nobody has it."""
    with (
        valkey_server(tmp_path, **DURABLE) as server,
        lone_dispatcher(server.url, tmp_path) as dispatcher,
        ScriptedWorker(dispatcher.arguments.endpoint) as worker,
    ):
        worker.hello()
        [task_id] = submit(server.url, register(server.url), b"p")
        worker.tasks(1)
        server.end()
        take_lease_away(server, task_id)
        beat_until(worker, lambda: dispatcher.saw("store.lost"), "the store is missed")
        server.start()

        beat_until(worker, lambda: any(isinstance(it, wire.Run) for it in worker.inbox), "the task is sent again")
        assert worker.hear(wire.Drop).leases == [wire.Lease(task_id, 1)]
        [again] = worker.tasks(1)
        worker.finish([again])

        [record] = wait_until(lambda: over(server, task_id), PATIENCE_S, "it has ended")
        assert (again.attempt, record.value) == (2, b"p")
        assert dispatcher.saw("search.ended")


def take_lease_away(server: Valkey, task_id: TaskId) -> None:
    """While the server is down, its file is changed: by another one that nobody knows."""
    with tempfile.TemporaryDirectory(prefix="other-") as place:
        other = Valkey(server.directory, Path(place) / "socket", DURABLE)
        other.start()
        with other.client() as client:
            assert client.hdel(keys.leases(NAME), task_id) == 1
        other.end(signal.SIGTERM)


def beat_until(worker: ScriptedWorker, probe: Callable[[], bool], what: str) -> None:
    """The worker lives and listens meanwhile."""

    def probed() -> bool:
        worker.live(0.1)
        return probe()

    wait_until(probed, PATIENCE_S, what, every=0.0)


def over(server: Valkey, task_id: TaskId) -> list[TaskRecord]:
    return [record for record in read(server.url, task_id) if record.status is State.COMPLETED]


def test_leases_of_a_dispatcher_that_is_forgotten_go_to_another_one(
    tree: SmallTree, client: redis.Redis, work: Work
) -> None:
    """One that died with its only lease deleted, and one whose sign of life is damaged."""
    work.submit(4, is_held=True)
    work.wait_started(4)
    lost = work.submit(2)
    ghost = Store.connect(tree.server.url)
    assert {task.task_id for task in claim(ghost, 2, "ghost", WorkerId("nobody"))} == set(lost)
    ghost.close()

    client.hdel(keys.leases("ghost"), lost[0])
    client.zrem(keys.BEATS, "ghost")

    work.assert_all_end_right()
    assert tree.counter("found:leased") == 2
    assert not client.exists(keys.leases("ghost"))


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_damaged_at_random_beside_crashes_of_the_dispatcher_every_task_ends_once_with_its_value(
    tree: SmallTree, client: redis.Redis, work: Work, seed: int
) -> None:
    chance = random.Random(seed)
    stop_at = time.monotonic() + DAMAGE_S
    hits = 0
    while time.monotonic() < stop_at:
        if client.llen(keys.QUEUE) < 200:
            work.submit(chance.randrange(1, 30))
        hits += sum(hurt(chance, client) for _ in range(3))
        if chance.random() < 0.02:
            with suppress(ProcessLookupError):  # it was killed a moment ago
                os.kill(tree.pid(), signal.SIGKILL)

    work.assert_all_end_right()

    assert hits > 20
    assert set(work.starts()) == set(range(len(work.ids)))
    assert tree.counter("completed") == len(work.ids) == tree.counter("submitted")
    assert tree.counter("found:queued") > 0


def hurt(chance: random.Random, client: redis.Redis) -> bool:
    """One entry, if there is any."""
    waiting, running = client.llen(keys.QUEUE), client.hkeys(keys.leases(NAME))
    match chance.randrange(3):
        case 0 if waiting:
            at = chance.randrange(waiting)
            return client.eval(HURT, 1, keys.QUEUE, at, chance.randbytes(12)) == 1  # type: ignore[no-untyped-call,no-any-return]
        case 1 if waiting:
            return bool(client.lpop(keys.QUEUE))
        case 2 if running:
            return bool(client.hdel(keys.leases(NAME), chance.choice(running)))
    return False


HURT = "if redis.call('LLEN', KEYS[1]) <= tonumber(ARGV[1]) then return 0 end redis.call('LSET', KEYS[1], ARGV[1], ARGV[2]) return 1"
