"""No-op tasks per second through the whole system, in each mode, every value checked; and 10 MB both ways.

    python -m benchmarks.throughput [--tasks 5000] [--rounds 3]

Each mode gets a tree of its own (2 workers with 1 slot each, embedded store, ``appendfsync always``). A ProcessPoolExecutor of two
processes runs the same calls in the same run, as the yardstick for this machine.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

from benchmarks.trees import tree
from regrow.gateway.client import Client


def same(value: int) -> int:
    """The no-op."""
    return value


def echo(blob: bytes) -> bytes:
    """There and back."""
    return blob


def rate(call: Callable[[], list[int]], tasks: int) -> float:
    """Tasks per second of one round; AssertionError if any value is wrong."""
    began = time.perf_counter()
    values = call()
    took_s = time.perf_counter() - began
    assert values == list(range(tasks)), "a value is wrong"
    return tasks / took_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{'what':<34}{'min':>9}{'median':>9}{'max':>9}   tasks/s, {options.tasks} tasks, {os.cpu_count()} cores")
    for mode in ("local", "push", "pull"):
        with tree(mode, "--workers", "2", "--slots", "1") as url, Client(url) as client:
            client.submit(same, 0).result()
            rates = [
                rate(lambda: list(client.map(same, range(options.tasks))), options.tasks) for _ in range(options.rounds)
            ]
            show(f"Client.map, {mode}", rates)
            began = time.perf_counter()
            blob = os.urandom(10_000_000)
            assert client.submit(echo, blob).result(60) == blob
            print(f"{'10 MB there and back, ' + mode:<34}{time.perf_counter() - began:>9.2f} s")
    with ProcessPoolExecutor(2) as pool:
        show("ProcessPoolExecutor(2).map", [rate(lambda: list(pool.map(same, range(options.tasks))), options.tasks)])


def show(name: str, rates: list[float]) -> None:
    """One line."""
    print(f"{name:<34}{min(rates):>9,.0f}{statistics.median(rates):>9,.0f}{max(rates):>9,.0f}")


if __name__ == "__main__":
    main()
