"""Testing functions of one's own under faults: ``pytest examples/test_under_faults.py``.

A task may run more than once when a worker dies under it. So a function that changes something outside has to make the change
once only, whoever runs it how often; and that is what these tests try, with the real tree and real deaths.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from regrow.chaos.testbed import Testbed


def charge(ledger: str, order: str, cents: int) -> int:
    """Book an order once: the file of the order can be created by one run only."""
    time.sleep(0.5)  # the part during which a worker may die
    try:
        with Path(ledger, order).open("x") as entry:
            entry.write(str(cents))
    except FileExistsError:
        pass  # an earlier run has booked it, and died before it could say so
    return cents


def charge_carelessly(ledger: str, order: str, cents: int) -> int:
    """The same without the care: each run appends a line, and then takes a while to return."""
    with Path(ledger, order).open("a") as entry:
        entry.write(f"{cents}\n")
    time.sleep(0.5)
    return cents


def run_under_fire(bed: Testbed, function: Callable[[str, str, int], int], ledger: Path) -> dict[str, int]:
    """Forty orders, with two workers killed while they run them; what was booked, by order."""
    futures = [bed.client.submit(function, str(ledger), f"order-{number}", number) for number in range(40)]
    for _ in range(2):
        bed.kill("worker", while_running=True)
        bed.wait_whole()
    assert [future.result(60) for future in futures] == list(range(40))
    return {entry.name: sum(map(int, entry.read_text().split())) for entry in ledger.iterdir()}


@pytest.mark.regrow(workers=2, slots=2)
def test_an_order_is_charged_once_though_workers_die(regrow_tree: Testbed, tmp_path: Path) -> None:
    booked = run_under_fire(regrow_tree, charge, tmp_path)

    assert booked == {f"order-{number}": number for number in range(40)}


@pytest.mark.regrow(workers=2, slots=2)
def test_the_careless_way_is_found_out(regrow_tree: Testbed, tmp_path: Path) -> None:
    booked = run_under_fire(regrow_tree, charge_carelessly, tmp_path)

    assert sum(booked.values()) > sum(range(40)), "an order whose worker died was booked twice"


def test_a_silent_worker_is_replaced_and_its_task_runs_elsewhere(regrow_shared_tree: Testbed) -> None:
    def where(seconds: float) -> int:
        time.sleep(seconds)
        return os.getppid()

    running = regrow_shared_tree.client.submit(where, 5.0)
    frozen = regrow_shared_tree.freeze("worker", while_running=True, for_s=8.0)

    assert frozen.victim is not None
    assert running.result(30) != frozen.victim.pid


def test_a_client_sits_out_a_gateway_that_cannot_reach_its_store(regrow_shared_tree: Testbed) -> None:
    with regrow_shared_tree.fault("net.cut", link="gateway-store"):
        answer = regrow_shared_tree.client.submit(pow, 2, 10)
        assert not answer.done()

    assert answer.result(30) == 1024
