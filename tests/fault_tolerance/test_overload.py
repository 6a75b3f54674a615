"""Twice the load that can be sustained: as much gets done as before, the rest is refused at once, and nothing grows or dies."""

import json
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import dill
import msgspec
import pytest
import urllib3

from regrow.actors.meter import usage
from support.cluster import Cluster, running
from support.waiting import wait_until

MAX_QUEUED = 1_000
TASK_S = 0.005  # a task sleeps: so the slots are what is short, and not the processor, which this test shares
BATCH = 25  # tasks per submit
SENDERS = 8
PROMISE = 0.9  # of the peak, at twice the load
ALONE = 0.1  # slack, of it, where nothing else runs on this machine: pytest -m slow -n0
IN_COMPANY = 0.4  # the same beside other tests, which come and go: a collapse is seen all the same
QUEUE_SLACK = 3.0  # a full queue is worked off in MAX_QUEUED / peak; on a loaded machine in this many times that
GROWTH_BYTES = 24 * 2**20  # of any one process while it is overloaded
MSGPACK = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}
DEATHS = ("worker.lost", "child.down", "child.overdue", "dispatcher.lost", "store.lost", "gateway.error")


class Flood:
    """Submits at a fixed rate, whatever the answers are, two batches at a time: a full queue has no room for the second."""

    def __init__(self, url: str, body: bytes, rate_per_s: float) -> None:
        self.accepted: list[str] = []
        self.refused = 0  # tasks
        self.answers: Counter[tuple[int, str | None]] = Counter()  # of requests: status and Retry-After
        self.slowest_s = 0.0
        self._url, self._body = f"{url}/v1/tasks", body
        self._pause_s = 2 * BATCH / rate_per_s
        self._numbers = count()
        self._pool = urllib3.PoolManager(maxsize=SENDERS, retries=False, timeout=30)

    def run(self, for_s: float) -> None:
        began = time.monotonic()
        threads = [threading.Thread(target=self._send, args=(began, for_s)) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._pool.clear()

    def offered_per_s(self, for_s: float) -> float:
        return (len(self.accepted) + self.refused) / for_s

    def _send(self, began: float, for_s: float) -> None:
        while (due := began + next(self._numbers) // 2 * self._pause_s) < began + for_s:
            time.sleep(max(0.0, due - time.monotonic()))
            started = time.monotonic()
            answer = self._pool.request("POST", self._url, body=self._body, headers=MSGPACK)
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)
            self.answers[answer.status, answer.headers.get("Retry-After")] += 1
            if answer.status != 200:
                self.refused += BATCH
                continue
            found = msgspec.msgpack.decode(answer.data)["tasks"]
            refusals = [task["error"]["code"] for task in found if task.get("error")]
            assert set(refusals) <= {"queue_full"}
            self.accepted += [task["task_id"] for task in found if not task.get("error")]
            self.refused += len(refusals)


def body_of(function_id: str, tasks: int) -> bytes:
    item = {"function_id": function_id, "payload": dill.dumps(((TASK_S,), {}))}
    return msgspec.msgpack.encode({"tasks": [item] * tasks})


def completed(cluster: Cluster) -> int:
    lines = cluster.get("/metrics").text.splitlines()
    return next(
        (int(float(it.split()[1])) for it in lines if it.startswith('regrow_tasks_ended_total{outcome="comp')), 0
    )


def queued(cluster: Cluster) -> int:
    lines = cluster.get("/metrics").text.splitlines()
    return next(int(float(it.split()[1])) for it in lines if it.startswith("regrow_tasks_queued "))


def peak_per_s(cluster: Cluster, function_id: str) -> float:
    """How fast a full queue is worked off while nobody submits."""
    before = completed(cluster)
    answer = urllib3.request("POST", f"{cluster.url}/v1/tasks", body=body_of(function_id, MAX_QUEUED), headers=MSGPACK)
    assert answer.status == 200
    wait_until(lambda: completed(cluster) > before, 10, "work has begun")
    began, first = time.monotonic(), completed(cluster)
    wait_until(lambda: completed(cluster) >= before + 0.9 * MAX_QUEUED, 60, "most of it is done", every=0.05)
    return (completed(cluster) - first) / (time.monotonic() - began)


def tasks_of(cluster: Cluster, ids: list[str]) -> Iterator[dict[str, Any]]:
    """All of these, ended."""
    left = list(ids)
    while left:
        ask = msgspec.msgpack.encode({"task_ids": left[:1000], "wait_s": 30.0})
        answer = urllib3.request("POST", f"{cluster.url}/v1/tasks/wait", body=ask, headers=MSGPACK)
        found = msgspec.msgpack.decode(answer.data)["tasks"]
        assert found, "accepted tasks end"
        yield from found
        ended = {task["task_id"] for task in found}
        left = [task_id for task_id in left if task_id not in ended]


def sizes(cluster: Cluster) -> dict[str, int]:
    """Bytes of gateway, dispatcher and workers, these with their slots. The store keeps what it is given, for a day."""
    nodes = [node for node in cluster.nodes() if node["role"] in {"gateway", "dispatcher", "worker"}]
    return {node["path"]: usage(node["pid"]).memory_bytes for node in nodes}


def deaths(cluster: Cluster) -> list[str]:
    lines = [line for line in cluster.log_path.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if json.loads(line).get("event") in DEATHS]


@contextmanager
def small_tree(tmp_path: Path) -> Iterator[tuple[Cluster, str]]:
    """A tree with a short queue, and a function that has run."""
    with running(tmp_path / "data", "--workers", "2", "--slots", "2", "--max-queued", str(MAX_QUEUED)) as cluster:

        def nap(seconds: float) -> None:
            import time

            time.sleep(seconds)

        function_id = cluster.register(nap)
        cluster.value(cluster.submit(function_id, TASK_S))
        yield cluster, function_id


def overload(cluster: Cluster, function_id: str, for_s: float, slack: float) -> None:
    """The peak, twice the peak, the peak again; and everything that is promised of it."""
    before_per_s = peak_per_s(cluster, function_id)
    flood = Flood(cluster.url, body_of(function_id, BATCH), 2 * before_per_s)
    thread = threading.Thread(target=flood.run, args=(for_s,))

    thread.start()
    wait_until(lambda: flood.refused, 30, "the queue is full")
    began, first, small = time.monotonic(), completed(cluster), sizes(cluster)
    thread.join()
    done_per_s = (completed(cluster) - first) / (time.monotonic() - began)
    large = sizes(cluster)
    wait_until(lambda: queued(cluster) == 0, 60, "the queue is worked off")
    after_per_s = peak_per_s(cluster, function_id)

    sustained_per_s = min(before_per_s, after_per_s)
    waited_s = [task["attempts"][0]["started_at"] - task["submitted_at"] for task in tasks_of(cluster, flood.accepted)]
    p99_s = statistics.quantiles(waited_s, n=100)[98]
    growth = {path: large[path] - small[path] for path in small}
    assert flood.offered_per_s(for_s) > 1.8 * before_per_s, "the load was offered"
    assert done_per_s >= (PROMISE - slack) * sustained_per_s
    assert set(flood.answers) == {(200, None), (429, "1")}, "who is refused is told when to come back"
    assert p99_s < QUEUE_SLACK * MAX_QUEUED / sustained_per_s
    assert flood.slowest_s < 5, "nobody waits for being refused"
    assert max(growth.values()) < GROWTH_BYTES, growth
    assert not deaths(cluster)


def test_at_twice_the_load_as_much_is_done_and_the_rest_is_refused(tmp_path: Path) -> None:
    with small_tree(tmp_path) as (cluster, function_id):
        overload(cluster, function_id, for_s=8, slack=IN_COMPANY)


@pytest.mark.slow
def test_so_it_stays_for_a_minute(tmp_path: Path) -> None:
    with small_tree(tmp_path) as (cluster, function_id):
        overload(cluster, function_id, for_s=60, slack=ALONE)
