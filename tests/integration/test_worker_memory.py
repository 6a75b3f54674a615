"""A real worker, against a scripted dispatcher: what it keeps is bounded, and it tells how short memory is."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from regrow.actors import wire
from regrow.actors.kept import KEPT_BYTES
from regrow.actors.task import FailureKind
from regrow.actors.wire import Level
from support import functions
from support.scripted import Dispatcher, dispatcher, worker

MIB = 2**20
BUDGET = 256 * MIB  # of a worker with one slot, which have about 50 MiB


@pytest.fixture
def peer() -> Iterator[Dispatcher]:
    with dispatcher() as scripted:
        yield scripted


@pytest.fixture
def start(peer: Dispatcher, tmp_path: Path) -> Iterator[Callable[..., wire.Hello]]:
    """Starts a worker; its Hello."""
    with ExitStack() as stack:

        def started(**settings: Any) -> wire.Hello:
            stack.enter_context(worker(peer.address, tmp_path / "log", **settings))
            return peer.expect(wire.Hello)

        yield started


def fill(size: int) -> bytes:
    return b"x" * size


def fill_and_wait(size: int) -> None:
    import time

    taken = b"x" * size
    time.sleep(600)
    del taken


def pressures(peer: Dispatcher) -> list[wire.Pressure]:
    return [message for message in peer.heard if isinstance(message, wire.Pressure)]


def beat(peer: Dispatcher, times: int) -> None:
    """That much of the worker's time passes."""
    for _ in range(times):
        peer.heard.clear()
        peer.expect(wire.Beat)


def test_nothing_is_started_while_nobody_acknowledges_what_is_there(
    peer: Dispatcher, start: Callable[..., wire.Hello], tmp_path: Path
) -> None:
    start(slots=2)
    peer.acknowledges = False
    ids = peer.run(*(peer.task(fill, KEPT_BYTES // 2) for _ in range(2)))
    peer.until(lambda: len(peer.outcomes) == 2, "both have ended")

    [later] = peer.run(peer.task(functions.note, str(tmp_path / "witness"), "ran"))
    beat(peer, 2)
    assert not (tmp_path / "witness").exists(), "it waits beside idle slots"
    assert later not in peer.outcomes

    peer.tell(wire.Ack([wire.Lease(ids[0], 1)]))
    assert peer.result(later)
    assert (tmp_path / "witness").read_text() == "ran\n"


def test_it_tells_when_memory_is_short_who_has_it_and_when_it_is_over(
    peer: Dispatcher, start: Callable[..., wire.Hello]
) -> None:
    hello = start(slots=1, memory_budget_bytes=BUDGET)
    assert hello.memory == hello.worker, "a budget of its own is shared with nobody"

    [task_id] = peer.run(peer.task(fill_and_wait, 200 * MIB))
    peer.until(lambda: [it for it in pressures(peer) if it.level is Level.CRITICAL], "memory is short")
    said = pressures(peer)[-1]
    assert (said.budget_bytes, said.used_bytes > 0.9 * BUDGET) == (BUDGET, True)
    assert [(use.task_id, use.used_bytes > 180 * MIB) for use in said.running] == [(task_id, True)]

    peer.tell(wire.Shed(wire.Lease(task_id, 1)))
    failure = peer.failure(task_id)
    assert failure.kind is FailureKind.OOM
    assert "256 were in use" in failure.message
    assert peer.outcomes[task_id].is_victim
    peer.until(lambda: pressures(peer)[-1].level is Level.OK, "memory is not short any more")

    beat(peer, 2)
    assert not pressures(peer), "then it says no more"


def test_shedding_what_has_ended_does_nothing(peer: Dispatcher, start: Callable[..., wire.Hello]) -> None:
    start(slots=1)
    [first] = peer.run(peer.task(functions.double, 2))
    assert peer.result(first) == 4

    peer.tell(wire.Shed(wire.Lease(first, 1)))

    [second] = peer.run(peer.task(functions.double, 3))
    assert peer.result(second) == 6
    assert not pressures(peer)
