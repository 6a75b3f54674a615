"""How fast the tree heals: workers killed and frozen while they run a task, many times, in a whole running tree.

    python -m benchmarks.recovery [--kills 200] [--freezes 200] [--plot docs/recovery.svg]

Each victim is the worker of a running task. Times are read from the task's own record (the store's clock, in milliseconds,
which is this machine's): when the attempt was given up (QUEUED again), and when the next one began (RUNNING). A kill counts from
the SIGKILL, a freeze from the last beat that the dispatcher has heard. Every task must end with its value after exactly two
attempts on two different workers, or the run fails.
"""

import argparse
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.distribution import Panel, row, svg
from benchmarks.trees import tree
from regrow.gateway.client import Client

WORKERS: Final = 8
FROZEN_AT_ONCE: Final = 4
WORK_S: Final = 0.3  # of a killed task
LONG_WORK_S: Final = 6.0  # of a frozen one: longer than the window, so that it cannot end by itself first
BEAT_S: Final = 1.0
TITLES: Final = {"SIGKILL": "Worker killed", "last beat": "Worker frozen, counted from its last beat"}


@dataclass(frozen=True)
class Recovery:
    """One fault, in milliseconds after its beginning."""

    queued_ms: float
    running_ms: float


def work(seconds: float) -> float:
    """What runs while its worker is struck; the second time it is short."""
    import time

    time.sleep(seconds)
    return seconds


class Range:
    """A tree and the ways to strike its workers."""

    def __init__(self, url: str, client: Client) -> None:
        self.url = url
        self.client = client

    def workers(self) -> dict[str, dict[str, Any]]:
        """The registered workers by id."""
        return {worker["worker_id"]: worker for worker in self.client.workers()}

    def running(self, seconds: float) -> tuple[str, dict[str, Any]]:
        """A new task that runs, and its worker."""
        future = self.client.submit(work, seconds)
        while True:
            if future.task_id:
                task = self.client.task(future.task_id)
                worker = task.attempts and self.workers().get(task.attempts[-1].worker)
                if task.status == "RUNNING" and worker:
                    return future.task_id, worker
            time.sleep(0.002)

    def recovered(self, task_id: str, seconds: float, since_s: float) -> Recovery:
        """When the task was queued and ran again.  AssertionError unless it ended right, in two attempts."""
        assert self.client.result(task_id) == seconds
        first, second = self.client.task(task_id).attempts
        assert (first.outcome, second.outcome) == ("worker_lost", "completed"), (first, second)
        assert first.worker != second.worker
        assert first.ended_at is not None
        assert second.started_at is not None
        return Recovery(1000 * (first.ended_at - since_s), 1000 * (second.started_at - since_s))

    def kill(self) -> Recovery:
        """SIGKILL to the worker of a running task."""
        task_id, worker = self.running(WORK_S)
        since_s = time.time()
        os.kill(worker["pid"], signal.SIGKILL)
        return self.recovered(task_id, WORK_S, since_s)

    def freeze(self) -> Recovery:
        """SIGSTOP to the worker of a running task."""
        task_id, worker = self.running(LONG_WORK_S)
        os.kill(worker["pid"], signal.SIGSTOP)
        time.sleep(2 * BEAT_S)  # by then the roster shows its last beat, and it is not lost yet
        last_beat_s = self.workers()[worker["worker_id"]]["last_beat"]
        return self.recovered(task_id, LONG_WORK_S, last_beat_s)

    def is_whole(self) -> bool:
        """All workers are here and idle."""
        workers = self.workers().values()
        return len(workers) == WORKERS and not any(worker["busy"] for worker in workers)


def strike(count: int, what: str, fault: Callable[[], Recovery], at_once: int) -> list[Recovery]:
    """``count`` faults, so many at once."""
    with ThreadPoolExecutor(at_once) as pool:
        faults = [pool.submit(fault) for _ in range(count)]
        return [each.result() for each in track(faults, what, console=Console(stderr=True))]


def report(kills: list[Recovery], freezes: list[Recovery]) -> tuple[Table, list[Panel]]:
    """The table and the plots."""
    table = Table(
        "milliseconds",
        "n",
        "min",
        "p50",
        "p90",
        "p99",
        "max",
        title="From the end of a worker until its task is QUEUED, and RUNNING elsewhere",
    )
    panels = []
    for name, found, promise_ms in (
        ("SIGKILL", kills, None),
        ("last beat", freezes, 3300.0),
    ):
        if found:
            curves = {"QUEUED": [it.queued_ms for it in found], "RUNNING": [it.running_ms for it in found]}
            for label, values in curves.items():
                table.add_row(*row(f"{name} -> {label}", values))
            panels.append(
                Panel(f"{TITLES[name]}: tasks that were QUEUED, and RUNNING elsewhere, after", curves, promise_ms)
            )
    return table, panels


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--freezes", type=int, default=200)
    parser.add_argument("--plot", type=Path, default=None)
    options = parser.parse_args()
    with tree("push", "--workers", str(WORKERS), "--slots", "1") as url, Client(url) as client:
        target = Range(url, client)
        kills = strike(options.kills, "kills", target.kill, 1)
        freezes = strike(options.freezes, "freezes", target.freeze, FROZEN_AT_ONCE)
        assert requests.get(f"{url}/readyz", timeout=10).status_code == 200
    table, panels = report(kills, freezes)
    Console().print(table)
    if options.plot is not None:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        options.plot.write_text(svg(panels))


if __name__ == "__main__":
    main()
