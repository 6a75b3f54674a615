"""The simulator on the product's own cores: hundreds of seeds keep every promise, each is the same run again, and all is reached."""

import os
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest

from regrow.chaos.simulation.drawing import Size, scenario
from regrow.chaos.simulation.scenario import WILD, FaultKind, Result
from regrow.chaos.simulation.simulation import simulate
from regrow.chaos.simulation.world import World

CHUNK = 25
SEEDS = 300
MOVES = ("claim", "succeed", "fail", "cancel", "expire", "give_up", "retry", "crash", "lose_worker", "give_back")
SAID = (
    "Welcome",
    "Run",
    "Code",
    "Ack",
    "Recall",
    "Drop",
    "WhoAreYou",
    "Hello",
    "Grant",
    "NeedCode",
    "Done",
    "GaveBack",
    "Leaving",
)
PAIRS = (
    "worker.kill x running",
    "worker.kill x idle",
    "worker.kill x frozen",
    "worker.freeze x running",
    "worker.suspend x running",
    "slot.kill x running",
    "slot.kill x idle",
    "slot.freeze x running",
    "dispatcher.kill x frozen",
    "link.cut x running",
    "link.one_way x running",
    "link.reset x running",
    "link.damage x running",
    "store.kill x frozen",
)
SIGHTS = (
    "call carried out late",
    "call of the dead carried out",
    "child overdue",
    "dispatcher told of a death",
    "dispatcher was suspended",
    "end quarantined",
    "end timed_out",
    "end worker_lost",
    "event leases.dropped",
    "event leases.expired",
    "event run.undelivered",
    "event words.lost",
    "event worker.left",
    "lease inherited",
    "run ignored before the welcome",
    "runs on after its end",
    "slot died with unread tasks",
    "slot found stopped",
    "submit repeated",
    "two runs beside each other",
    "worker departs with work undone",
    "worker drains",
    "worker misses words",
    "worker reconnects",
    "worker rejoins",
)


@cache
def result(seed: int) -> Result:
    return simulate(seed)


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_promise_is_broken_under_seeded_chaos(first: int) -> None:
    broken = [found for seed in range(first, first + CHUNK) if not (found := result(seed)).is_valid]

    assert not broken, [f"regrow chaos simulate --replay {it.seed}  # {it.invariant}: {it.detail}" for it in broken]


@pytest.mark.timeout(600)  # by itself it runs all seeds
def test_every_fault_and_every_interesting_state_was_reached() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        seen.update(result(seed).seen)

    faults = {kind for kind in FaultKind if any(name.startswith(f"fault {kind}") for name in seen)}
    assert faults == set(FaultKind)
    wanted = [f"move {move}" for move in MOVES] + [f"said {word}" for word in SAID]
    wanted += [f"fault {pair}" for pair in PAIRS] + list(SIGHTS)
    assert not [sight for sight in wanted if not seen[sight]]


def test_some_seeds_double_and_reorder_messages_and_most_do_not() -> None:
    wild = [seed for seed in range(SEEDS) if scenario(seed).is_wild]

    assert 0 < len(wild) < SEEDS / 4
    assert not [step for seed in range(SEEDS) if seed not in wild for step in scenario(seed).steps if step.kind in WILD]


def test_the_same_seed_is_the_same_run_and_another_seed_another() -> None:
    first, again, other = simulate(7), simulate(7), simulate(8)

    assert (first.digest, first.events, first.seen) == (again.digest, again.events, again.seen)
    assert other.digest != first.digest


def test_a_seed_is_the_same_run_in_another_process() -> None:
    """Nothing depends on the order of a set, which differs from process to process."""
    program = "from regrow.chaos.simulation.simulation import simulate; print(*(simulate(n).digest for n in range(5)))"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(salt)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for salt in (1, 2)
    }

    assert len(digests) == 1


def test_a_hundred_workers_work_through_a_thousand_tasks() -> None:
    found = simulate(1, Size(tasks=1000, workers=100, hours=0.01))

    assert found.is_valid, (found.invariant, found.detail)
    assert found.tasks == 1000
    assert found.simulated_s > 36


def test_a_moment_that_does_not_end_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who does the same for ever, at once, would otherwise hang the simulator."""
    begin = World._begin

    def begin_and_spin(self: World) -> None:
        def spin() -> None:
            self.clock.after(0.0, spin)

        begin(self)
        self.clock.after(2.0, spin)

    monkeypatch.setattr(World, "_begin", begin_and_spin)

    found = simulate(7)

    assert (found.invariant, found.at_s) == ("liveness", 2.0)
    assert "time stands still" in found.detail
