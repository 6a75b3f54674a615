"""A small finished run, made up: its evidence, and findings that fit it."""

import random

from regrow.chaos.evidence import (
    Accounting,
    Census,
    CounterExample,
    Distribution,
    Evidence,
    Findings,
    Judgement,
    Moment,
    Recovery,
    Sample,
    Strike,
    Verdict,
)
from regrow.chaos.experiment import Experiment, Hypothesis, Probe, Tolerance
from regrow.chaos.fault import Victim
from regrow.chaos.history import ChildMove, Mark, Move, Op
from regrow.chaos.report import Machine, RunFacts
from regrow.chaos.schedule import plan
from regrow.runtime.spec import ChildState
from regrow.runtime.tree import TreeNode

BEGAN = 1000.0
FACTS = RunFacts(
    "2026-01-02T03:04:05+00:00",
    "regrow chaos run made-up --seed 3",
    Machine("here", 2, 8 << 30, "Linux 6", "3.11.7", {"regrow": "0.1.0", "valkey": "9.1"}),
    "abc1234",
    "embedded valkey, appendfsync always",
)
EXPERIMENT = Experiment(
    "made-up <run>",
    "Two workers die & one falls silent",
    3,
    hypothesis=Hypothesis((Probe("canary", "task", Tolerance("range", [0, 500], "latency_ms")),)),
)


def _tree(restarts: int) -> TreeNode:
    worker = TreeNode("worker-0", "root/workers/worker-0", "worker", 7, ChildState.RUNNING, 1 + restarts, restarts, [])
    return TreeNode("root", "root", "root", 1, ChildState.RUNNING, 1, 0, [worker])


def _ops(rate: float, duration_s: float, slow: tuple[float, float]) -> list[Op]:
    chance, found = random.Random(1), []
    for number in range(int(rate * duration_s)):
        due = BEGAN + number / rate
        took_s = 0.01 + chance.expovariate(50) + (2.5 if slow[0] <= due - BEGAN < slow[1] else 0.0)
        name = {"number": number, "kind": "noop", "task_id": f"task-{number}"}
        status = "FAILED" if number % 50 == 49 else "COMPLETED"
        found += [
            Op("invoke", due + 0.001, 2 * number, "submit", due=due, **name),
            Op("ok", due + 0.004, 2 * number, "submit", **name),
            Op("ok", due + took_s, 2 * number + 1, "read", status=status, digest="x", **name),
        ]
    return sorted(found, key=lambda op: op.at)


def evidence(*, has_faults: bool = True) -> Evidence:
    victim = Victim("root/workers/worker-0", "worker", 7, 1, 1)
    strikes = [
        Strike(1, "kill", {}, BEGAN + 5, BEGAN + 5.01, None, victim, "worker-0", "SIGKILL"),
        Strike(
            2, "net.cut", {"link": "worker-dispatcher"}, BEGAN + 10, BEGAN + 10.0, BEGAN + 14.0, detail="<both ways>"
        ),
        Strike(3, "stop", {}, BEGAN + 12, None, None, detail="no running slot"),
    ]
    moves: list[Move] = [ChildMove(BEGAN + 5.02, 0.0, "child.down", "root/workers/worker-0", 1, 7, "signal:SIGKILL")]
    samples = [
        Sample(BEGAN - 1, "canary", "before", True, 12.0),
        Sample(BEGAN + 25, "canary", "after", False, None, "timeout"),
    ]
    return Evidence(
        EXPERIMENT, plan(EXPERIMENT), BEGAN, BEGAN + 20, BEGAN + 22, BEGAN + 26,
        tuple(_ops(20, 20, (10, 14) if has_faults else (99, 99))),
        (Mark("start", 100, "r1", 7, BEGAN + 5), Mark("start", 100, "r2", 8, BEGAN + 5.5), Mark("end", 100, "r2", 8, BEGAN + 5.6)),
        tuple(moves), tuple(strikes) if has_faults else (), tuple(samples),
        Census(BEGAN - 2, _tree(0), 9, 200 << 20, 40, 80), Census(BEGAN + 26, _tree(1), 9, 210 << 20, 41, 81),
    )  # fmt: skip


def findings(verdict: Verdict) -> Findings:
    story = (Moment(BEGAN + 5, "client", "submitted"), Moment(BEGAN + 6, "witness", "started <again>"))
    bad = (CounterExample("task-100", "it has two ends", story),) if verdict is Verdict.INVALID else ()
    chance = random.Random(2)
    values = tuple(sorted(chance.expovariate(8) for _ in range(40)))
    return Findings(
        verdict,
        () if verdict is Verdict.VALID else ("one_terminal was broken",),
        (
            Judgement("no_lost", Verdict.VALID, "every acknowledged task ended", checked=400),
            Judgement("one_terminal", verdict, "a task ends once", "", 400, 12 * len(bad), bad),
        ),
        Accounting(402, 400, {"queue_full": 1}, 1, 1, 392, {"raised": 8}, 0, {1: 399, 2: 1}, 0),
        (Recovery(1, "kill", "sentinel", "task-100", BEGAN + 5, None, BEGAN + 5.01, BEGAN + 5.02, BEGAN + 5.5, BEGAN + 5.6),),
        {"kill/sentinel/running": Distribution(40, values[0], values[20], values[36], values[39], values[39], values)},
        (),
        {"kill x running": 1, "stop x idle": 0},
    )  # fmt: skip
