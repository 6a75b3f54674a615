"""Submits at a rate of its own, whatever becomes of them: what was acknowledged is on record.

::

    with Load(cluster, function_id, rate_per_s=100) as load:
        ...                                            # do something to the cluster
    assert_all_ended_once(cluster, witness, load.acknowledged)

Open loop: batches are due at fixed times, and a slow answer delays no later batch (up to ``THREADS`` answers outstanding).
A submit that was answered with an id is *acknowledged*; one with an error is *refused*; one without an answer is *unknown*:
it may run, or not.  Nothing is repeated.
"""

import base64
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

import dill
import requests
import urllib3

from support.cluster import Cluster, text
from support.witness import Witness

BATCH_S: Final = 0.05  # between two batches
THREADS: Final = 16
LOOK_AT: Final = 500  # tasks asked after at once


class Load:
    """Submits ``function(number, *args)`` for number 0, 1, 2 ..., until the end of the block."""

    def __init__(self, cluster: Cluster, function_id: str, rate_per_s: float, *args: object, first: int = 0) -> None:
        self.acknowledged: dict[str, int] = {}  # task id -> number
        self.acknowledged_at: dict[str, float] = {}  # task id -> monotonic seconds
        self.refused: Counter[int] = Counter()  # by HTTP status
        self.refusals: list[tuple[int, str | None]] = []  # status and Retry-After of each refused request
        self.unknown: list[int] = []  # numbers without an answer
        self.slowest_s = 0.0  # longest wait for an answer
        self._cluster = cluster
        self._url = f"{cluster.url}/v1/tasks"
        self._function_id = function_id
        self._args = args
        self._batch = max(1, round(rate_per_s * BATCH_S))
        self._pause_s = self._batch / rate_per_s
        self._next = first
        self._pool = urllib3.PoolManager(maxsize=THREADS, retries=False, timeout=30)
        self._senders = ThreadPoolExecutor(THREADS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Submit no more, and wait for the answers that are outstanding."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._senders.shutdown()
        self._pool.clear()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            numbers = range(self._next, self._next + self._batch)
            self._next = numbers.stop
            self._senders.submit(self._send, numbers)
            due += self._pause_s
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _send(self, numbers: range) -> None:
        items = [{"function_id": self._function_id, "payload": text(((n, *self._args), {}))} for n in numbers]
        body = json.dumps({"tasks": items})
        sent_at = time.monotonic()
        try:
            answer = self._pool.request("POST", self._url, body=body, headers={"content-type": "application/json"})
        except urllib3.exceptions.HTTPError:
            self.unknown += numbers
            return
        self.slowest_s = max(self.slowest_s, time.monotonic() - sent_at)
        if answer.status == 200:
            self._take(numbers, answer.json()["tasks"])
        else:
            self.refused[answer.status] += len(numbers)
            self.refusals.append((answer.status, answer.headers.get("retry-after")))

    def _take(self, numbers: range, verdicts: list[dict[str, Any]]) -> None:
        for number, verdict in zip(numbers, verdicts, strict=True):
            if "task_id" in verdict:
                self.acknowledged_at[verdict["task_id"]] = time.monotonic()
                self.acknowledged[verdict["task_id"]] = number
            else:
                self.refused[verdict["error"]["status"]] += 1


def submit_all(cluster: Cluster, function_id: str, numbers: range, *args: object) -> dict[str, int]:
    """Submit ``function(number, *args)`` for all numbers at once; their ids, each with its number."""
    items = [{"function_id": function_id, "payload": text(((n, *args), {}))} for n in numbers]
    verdicts = cluster.post("/v1/tasks", {"tasks": items}).json()["tasks"]
    return {verdict["task_id"]: number for verdict, number in zip(verdicts, numbers, strict=True)}


def ends_of(cluster: Cluster, ids: list[str], within: float) -> dict[str, dict[str, Any]]:
    """All these tasks as they ended.  AssertionError when some have not after ``within`` seconds, or do not exist."""
    ended: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + within
    while waiting := [task_id for task_id in ids if task_id not in ended][:LOOK_AT]:
        left_s = deadline - time.monotonic()
        assert left_s > 0, (
            f"{len(ids) - len(ended)} of {len(ids)} not ended within {within} s: {cluster.task(waiting[0])}"
        )
        ended.update((task["task_id"], task) for task in _ended_of(cluster, waiting, min(5.0, left_s)))
    return ended


def _ended_of(cluster: Cluster, ids: list[str], wait_s: float) -> list[dict[str, Any]]:
    """Those that have ended; none while the gateway or its store is away."""
    try:
        answer = cluster.post("/v1/tasks/wait", {"task_ids": ids, "wait_s": wait_s})
    except requests.ConnectionError:
        return []
    if answer.status_code == 503:
        return []
    assert answer.status_code == 200, answer.text
    assert not answer.json()["unknown"], "an acknowledged task that is not known any more"
    found: list[dict[str, Any]] = answer.json()["tasks"]
    return found


def assert_all_ended_once(
    cluster: Cluster, witness: Witness, acknowledged: dict[str, int], within: float = 60.0
) -> dict[str, dict[str, Any]]:
    """Each is COMPLETED with its value, by one of its attempts, and was really run, from its start to its end; the tasks."""
    tasks = ends_of(cluster, list(acknowledged), within)
    assert {task["status"] for task in tasks.values()} <= {"COMPLETED"}
    values = {task_id: dill.loads(base64.b64decode(task["result"])) for task_id, task in tasks.items()}
    assert values == {task_id: witness.value(number) for task_id, number in acknowledged.items()}
    stored = {sum(a["outcome"] == "completed" for a in task["attempts"]) for task in tasks.values()}
    assert stored <= {1}, "an outcome was stored twice"
    ends = witness.ends()
    assert not [number for number in acknowledged.values() if not ends[number]], "a value that nobody has worked for"
    return tasks
