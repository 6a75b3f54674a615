"""Minutes of load and of kills: nothing is lost, and nothing grows."""

import random
import statistics
import time
from itertools import count
from pathlib import Path
from typing import Final

import psutil
import pytest

from support.cluster import Cluster, running
from support.load import Load, assert_all_ended_once
from support.waiting import wait_until
from support.witness import Witness

SOAK_S: Final = 300.0
KILL_EVERY_S: Final = 5.0
RATE_PER_S: Final = 60.0
RETENTION_S: Final = 3600.0  # all of it is looked at in the end
VICTIMS: Final = ("slot", "worker", "worker", "dispatcher", "gateway", "supervisor")
GROWTH: Final = 1.10  # of the root, which nobody kills, from the second fifth of the time to the last
SEED: Final = 11


def rss_bytes(cluster: Cluster) -> int:
    return int(psutil.Process(cluster.process.pid).memory_info().rss)


def descriptors(cluster: Cluster) -> int:
    return int(psutil.Process(cluster.process.pid).num_fds())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_minutes_of_load_and_kills_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    dice, witness = random.Random(SEED), Witness(tmp_path / "witness")
    memory: list[int] = []
    killed: set[int] = set()
    flags = ("--workers", "3", "--slots", "2", "--retention-s", f"{RETENTION_S:g}")
    with running(tmp_path / "data", *flags) as cluster:
        began, open_at_first = time.monotonic(), descriptors(cluster)
        with Load(cluster, cluster.register(witness.work), RATE_PER_S, 0.02) as load:
            for number in count(1):
                due = began + number * KILL_EVERY_S
                wait_until(lambda due=due: time.monotonic() >= due, 2 * KILL_EVERY_S, "the next kill is due", 0.1)
                if due - began >= SOAK_S:
                    break
                role = dice.choice(VICTIMS)
                victims = wait_until(
                    lambda role=role: [it for it in whole(cluster) if it["role"] == role and it["state"] == "running"],
                    20,
                    f"a {role} to kill",
                )
                victim = dice.choice(victims)
                psutil.Process(victim["pid"]).kill()
                killed.add(victim["pid"])
                memory.append(rss_bytes(cluster))
        assert_all_ended_once(cluster, witness, load.acknowledged, 120)
        wait_until(lambda: len([it for it in whole(cluster) if it["role"] == "slot"]) == 6, 20, "the tree is whole")
        assert descriptors(cluster) <= open_at_first + 10

    fifth = len(memory) // 5
    assert len(killed) == int(SOAK_S / KILL_EVERY_S) - 1
    assert len(load.acknowledged) > RATE_PER_S * SOAK_S / 2
    assert statistics.median(memory[-fifth:]) < GROWTH * statistics.median(memory[fifth : 2 * fifth]), memory


def whole(cluster: Cluster) -> list[dict]:
    """The tree; nothing while whoever answers for it is away."""
    return cluster.nodes() if cluster.is_ready() else []
