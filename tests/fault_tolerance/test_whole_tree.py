"""SIGKILL to every process of the tree at once, under load, in any order: the next ``regrow up`` ends what was acknowledged."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Final

import psutil
import pytest

from support.cluster import Cluster, running
from support.load import Load, assert_all_ended_once
from support.processes import is_alive
from support.waiting import wait_until
from support.witness import Witness

RATE_PER_S: Final = 100.0
LOAD_S: Final = 1.0  # between two crashes
GONE_S: Final = 2.0  # promised: nothing of the tree is left
MODES: Final = ("push", "pull", "local")
SEED: Final = 7

# Given all pids, parents first: the order in which they are killed.
ORDERS: Final[dict[str, Callable[[list[int]], list[int]]]] = {
    "root first": lambda pids: pids,
    "root last": lambda pids: pids[::-1],
    "in any order": lambda pids: random.Random(SEED).sample(pids, len(pids)),
}


def crash(cluster: Cluster, order: Callable[[list[int]], list[int]]) -> None:
    """All processes of the tree get their SIGKILL before any of them could be missed."""
    pids = [cluster.process.pid, *(it.pid for it in psutil.Process(cluster.process.pid).children(recursive=True))]
    for pid in order(pids):
        with suppress(ProcessLookupError):  # its parent's death was faster
            os.kill(pid, signal.SIGKILL)
    killed_at = time.monotonic()
    cluster.process.wait(GONE_S)
    wait_until(lambda: not any(map(is_alive, pids)), GONE_S, "no process of the tree is left")
    assert time.monotonic() - killed_at < GONE_S


def crashes(directory: Path, modes: Iterator[str], orders: list[str]) -> tuple[Witness, dict[str, int]]:
    """One crash per order, each of a tree that has just resumed the former one's work; what was acknowledged."""
    witness = Witness(directory / "witness")
    acknowledged: dict[str, int] = {}
    for count, order in enumerate(orders):
        cluster = Cluster(directory / "data", "--mode", next(modes)).wait_ready()
        try:
            load = Load(cluster, cluster.register(witness.work), RATE_PER_S, 0.02, first=count * 10_000)
            with load:
                wait_until(lambda load=load: len(load.acknowledged) > RATE_PER_S * LOAD_S, 20, "work comes and goes")
                assert len(witness.ends()) > len(acknowledged) / 2
                crash(cluster, ORDERS[order])
        finally:
            cluster.kill()
        acknowledged |= load.acknowledged
    return witness, acknowledged


def assert_resumed(directory: Path, mode: str, witness: Witness, acknowledged: dict[str, int], times: int) -> None:
    with running(directory / "data", "--mode", mode) as last:
        assert_all_ended_once(last, witness, acknowledged)
    starts = witness.starts()
    assert max(starts[number] for number in acknowledged.values()) <= 1 + times
    again = sum(starts[number] > 1 for number in acknowledged.values())
    assert again < len(acknowledged) / 2, "what had ended did not run again"


def test_after_crashes_of_the_whole_tree_the_next_one_ends_every_acknowledged_task_once(tmp_path: Path) -> None:
    modes = cycle(MODES)

    witness, acknowledged = crashes(tmp_path, modes, list(ORDERS))

    assert len(acknowledged) > RATE_PER_S * LOAD_S * len(ORDERS)
    assert_resumed(tmp_path, next(modes), witness, acknowledged, len(ORDERS))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", ORDERS)
def test_ten_crashes_in_a_row_in_each_order_and_mode(tmp_path: Path, mode: str, order: str) -> None:
    witness, acknowledged = crashes(tmp_path, cycle([mode]), [order] * 10)

    assert_resumed(tmp_path, mode, witness, acknowledged, 10)
