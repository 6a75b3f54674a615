"""SIGTERM drains: intake stops, what runs is finished until the deadline, what has not started goes back at once.

So workers can be restarted one after another under load, and a whole tree too, without one task that fails or runs twice.
The witness file says what ran; half of the tasks must not run twice at any price (``max_attempts=1``): one that were taken
for lost would FAIL.
"""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from regrow.actors.task import State, TaskId
from support.cluster import Cluster, running, send, text
from support.tasks import read
from support.valkey import DURABLE, valkey_server
from support.waiting import wait_until
from support.witness import Witness

PATIENCE_S = 60.0
LATE_S = 10.0  # beyond the drain's deadline: the promise is about 2 s; a loaded two-core machine gets more
NO_GRACE_S = 1.0


class Load:
    """Slow and quick tasks (the quick ones wait in line at the workers); half of them must not be started twice."""

    def __init__(self, cluster: Cluster, witness: Witness) -> None:
        self.cluster, self.witness = cluster, witness
        work = witness.work

        def quick(number: int, seconds: float) -> int:
            return work(number, 0.0 * seconds)

        self.functions = [cluster.register(f, max_attempts=n) for f in (work, quick) for n in (1, 3)]
        self.ids: list[str] = []

    def add(self, count: int, seconds: float) -> list[str]:
        """More of it, the functions in turn."""
        numbers = range(len(self.ids), len(self.ids) + count)
        items = [{"function_id": self.functions[n % 4], "payload": text(((n, seconds), {}))} for n in numbers]
        ids = [item["task_id"] for item in self.cluster.post("/v1/tasks", {"tasks": items}).json()["tasks"]]
        self.ids += ids
        return ids

    def assert_each_ran_once(self, cluster: Cluster) -> None:
        """All COMPLETED with their values, in one attempt each, and started once."""
        values = [cluster.value(task_id, PATIENCE_S) for task_id in self.ids]
        assert values == [Witness.value(n) for n in range(len(self.ids))]
        assert self.witness.starts() == Counter(range(len(self.ids)))
        assert {len(cluster.task(task_id)["attempts"]) for task_id in self.ids} == {1}


@pytest.fixture(
    scope="module", params=["push", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("pull", "local"))]
)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    flags = ("--mode", request.param, "--workers", "3", "--slots", "2")
    with running(tmp_path_factory.mktemp(request.param), *flags) as it:
        yield it


def seated(cluster: Cluster) -> dict[str, int]:
    """The pids of the workers that the dispatcher gives tasks to, by name."""
    workers = cluster.get("/v1/workers").json()["workers"]
    return {worker["name"]: worker["pid"] for worker in workers if not worker["is_draining"]}


def test_workers_restarted_one_after_another_under_load_cost_no_task_anything(cluster: Cluster, tmp_path: Path) -> None:
    load = Load(cluster, Witness(tmp_path / "witness"))
    before = wait_until(lambda: len(found := seated(cluster)) == 3 and found, 20, "three workers")

    for name, pid in before.items():
        load.add(150, 0.15)
        ended = len(load.witness.ends())
        wait_until(lambda ended=ended: len(load.witness.ends()) > ended + 10, PATIENCE_S, "the load is on")
        send(pid, signal.SIGTERM)
        wait_until(lambda name=name, pid=pid: seated(cluster).get(name, pid) != pid, PATIENCE_S, f"{name} is new")
    still_to_end = len(load.ids) - len(load.witness.ends())

    assert still_to_end > 0, "there was work to the end"
    load.assert_each_ran_once(cluster)
    after = seated(cluster)
    assert set(after) == set(before)
    assert not set(after.values()) & set(before.values())


def test_a_pool_resized_under_load_costs_no_task_anything(cluster: Cluster, tmp_path: Path) -> None:
    load = Load(cluster, Witness(tmp_path / "witness"))
    load.add(400, 0.15)
    wait_until(lambda: len(load.witness.ends()) > 10, PATIENCE_S, "the load is on")

    for size in (1, 3):
        assert requests.patch(cluster.url + "/v1/pools/workers", json={"size": size}, timeout=60).status_code == 200
        wait_until(lambda size=size: len(seated(cluster)) == size, PATIENCE_S, f"{size} workers")
    still_to_end = len(load.ids) - len(load.witness.ends())

    assert still_to_end > 0, "there was work to the end"
    load.assert_each_ran_once(cluster)


def test_a_tree_that_is_stopped_under_load_ends_what_runs_and_keeps_the_rest_for_the_next(tmp_path: Path) -> None:
    flags = ("--workers", "2", "--slots", "2", "--drain-s", "15")
    with valkey_server(tmp_path, **DURABLE) as server:
        with running(tmp_path / "data", *flags, "--redis-url", server.url) as first:
            load = Load(first, Witness(tmp_path / "witness"))
            load.add(60, 0.5)
            wait_until(lambda: len(load.witness.at_work()) >= 4, PATIENCE_S, "every slot is at work")

            asked_at = time.monotonic()
            code = first.stop(within=15 + LATE_S)
            took_s = time.monotonic() - asked_at
        states = {
            number: record.status
            for number, record in enumerate(read(server.url, *(TaskId(task_id) for task_id in load.ids)))
        }

        assert code == 0
        assert took_s < 0.5 + LATE_S
        assert {number for number, state in states.items() if state is State.COMPLETED} == set(load.witness.starts())
        assert Counter(states.values()).keys() == {State.COMPLETED, State.QUEUED}
        with running(tmp_path / "data", *flags, "--redis-url", server.url) as second:
            load.assert_each_ran_once(second)


def test_tasks_longer_than_the_deadline_end_with_the_tree_and_run_again_in_the_next(tmp_path: Path) -> None:
    flags = ("--workers", "2", "--slots", "2", "--drain-s", str(NO_GRACE_S))
    witness = Witness(tmp_path / "witness")
    with running(tmp_path / "data", *flags) as first:
        function = first.register(witness.work)
        long = [first.submit(function, number, 4.0) for number in range(4)]
        queued = [first.submit(function, number, 0.0) for number in range(4, 8)]
        wait_until(lambda: len(witness.at_work()) == 4, PATIENCE_S, "the long ones run")

        asked_at = time.monotonic()
        code = first.stop(within=NO_GRACE_S + LATE_S)
        took_s = time.monotonic() - asked_at

    assert code == 0
    assert NO_GRACE_S <= took_s < NO_GRACE_S + LATE_S
    assert not witness.ends()
    with running(tmp_path / "data", *flags) as second:
        assert [second.value(task_id, PATIENCE_S) for task_id in long + queued] == [number**2 for number in range(8)]
    assert witness.starts() == Counter({number: 2 if number < 4 else 1 for number in range(8)})
    assert witness.ends() == Counter(range(8))
