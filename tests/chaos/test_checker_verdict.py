"""What the parts of a judgement come to: the verdict and its reasons, what had to be hit, coverage, times of recovery."""

import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from regrow.actors import task
from regrow.chaos.checker import INVARIANTS, check
from regrow.chaos.docket import Docket, Run
from regrow.chaos.evidence import Evidence, Findings, Judgement, Sample, Strike, Verdict
from regrow.chaos.experiment import Expectations, Experiment, Hypothesis, Plan, Probe, Step, Target, Tolerance
from regrow.chaos.fault import Role, Victim
from regrow.chaos.history import ChildMove, Mark, Op, TaskMove
from regrow.chaos.impact import Impact, Reach, reach
from regrow.chaos.invariants.executions import overlap
from regrow.chaos.invariants.moves import NOTES, TRANSITIONS
from regrow.chaos.reading import BOUNDS
from regrow.chaos.recovery import BOUND_NAMES, distribution, percentile
from regrow.chaos.timeline import of_task
from regrow.gateway.story import WORDS
from support.histories import valid
from support.plants import gone_at_the_end

ID = "33333333-0000-4000-8000-000000000000"


def asked(evidence: Evidence, **expected: Any) -> Evidence:
    return replace(evidence, experiment=replace(evidence.experiment, expect=Expectations(**expected)))


def judged(findings: Findings, invariant: str) -> Judgement:
    return next(it for it in findings.judgements if it.invariant == invariant)


@pytest.fixture(scope="module")
def killed() -> Evidence:
    """A run with kills of workers that hit running tasks."""
    return valid(3, faults=("kill worker",), strikes=6)


# the verdict


def test_a_run_that_was_hit_and_kept_its_promises_is_valid(killed: Evidence) -> None:
    findings = check(killed)

    assert findings.verdict is Verdict.VALID
    assert "faults hit running tasks" in findings.reasons[0]


def test_a_run_in_which_no_fault_hit_a_running_task_is_unknown(killed: Evidence) -> None:
    misses = tuple(replace(strike, applied_at=None) for strike in killed.strikes)
    at_night = tuple(replace(strike, applied_at=killed.began - 50) for strike in killed.strikes)

    assert check(asked(replace(killed, strikes=misses), invariants={"no_lost": None})).verdict is Verdict.UNKNOWN
    findings = check(asked(replace(killed, strikes=at_night), invariants={"no_lost": None}))
    assert (findings.verdict, findings.reasons) == (Verdict.UNKNOWN, ("no fault hit a running task",))


def test_a_run_without_faults_in_its_plan_can_be_valid() -> None:
    assert check(valid(1, strikes=0)).verdict is Verdict.VALID


def test_a_run_in_which_nothing_was_acknowledged_is_unknown(killed: Evidence) -> None:
    ops = tuple(
        replace(op, type="info", problem="no_answer") if op.action == "submit" and op.type == "ok" else op
        for op in killed.ops
    )
    findings = check(
        asked(replace(killed, ops=tuple(op for op in ops if op.action == "submit")), invariants={"no_lost": None})
    )

    assert findings.verdict is Verdict.UNKNOWN
    assert "no task was acknowledged" in findings.reasons


def test_a_run_that_was_stopped_is_no_pass(killed: Evidence) -> None:
    findings = check(replace(killed, stopped_because="the gateway was down for 20 s"))

    assert findings.verdict is Verdict.UNKNOWN
    assert "the run was stopped: the gateway was down for 20 s" in findings.reasons


def test_a_steady_state_that_does_not_come_back_is_invalid(killed: Evidence) -> None:
    bad = Sample(killed.finished, "canary", "after", is_tolerable=False, problem="no answer")
    good = replace(bad, at=killed.finished - 1, is_tolerable=True)

    assert check(replace(killed, samples=(bad, replace(good, at=killed.finished + 1)))).verdict is Verdict.VALID
    findings = check(replace(killed, samples=(good, bad)))
    assert findings.verdict is Verdict.INVALID
    assert "canary is not back" in findings.reasons[0]


@pytest.mark.parametrize(
    ("rob", "invariants"),
    [
        (
            lambda evidence: replace(evidence, marks=()),
            {"no_phantom", "terminal_is_true", "bounded_reexec", "no_overlap", "at_most_once", "fairness"},
        ),
        (
            lambda evidence: replace(evidence, record_is_whole=False),
            {"one_terminal", "legal_transitions", "bounded_detection"},
        ),
        (lambda evidence: replace(evidence, before=None), {"tree_healthy", "memory"}),
        (lambda evidence: replace(evidence, after=None), {"tree_healthy", "memory", "no_orphans"}),
        (
            lambda evidence: replace(evidence, ops=tuple(op for op in evidence.ops if op.action == "submit")),
            {"no_lost"},
        ),
        (
            lambda evidence: replace(evidence, settled_at=None, stopped_because="ctrl-c"),
            {"liveness", "tree_healthy", "memory"},
        ),
    ],
    ids=["witness", "whole record", "census before", "census after", "reads", "settling"],
)
def test_what_needs_a_source_that_is_missing_is_unknown(
    killed: Evidence, rob: Callable[[Evidence], Evidence], invariants: set[str]
) -> None:
    before = {it.invariant for it in check(killed).judgements if it.verdict is Verdict.UNKNOWN}

    findings = check(rob(killed))

    unknown = {it.invariant: it for it in findings.judgements if it.verdict is Verdict.UNKNOWN}
    assert invariants <= set(unknown)
    assert all("missing: " in unknown[name].detail for name in invariants - before)
    assert findings.verdict is Verdict.UNKNOWN
    for name in invariants:
        assert any(reason.startswith(f"{name}: ") for reason in findings.reasons)


def test_what_was_asked_by_name_and_not_put_to_the_test_makes_the_run_unknown() -> None:
    evidence = valid(3, faults=("kill worker",), strikes=6, mix={"noop": 1, "sleep1s": 1})

    assert judged(check(evidence), "at_most_once").verdict is Verdict.UNKNOWN
    assert check(evidence).verdict is Verdict.VALID
    assert check(asked(evidence, invariants={"at_most_once": None})).verdict is Verdict.UNKNOWN


def test_an_invariant_that_nobody_knows_is_never_a_pass(killed: Evidence) -> None:
    findings = check(asked(killed, invariants={"no_lots": None}))

    assert findings.verdict is Verdict.UNKNOWN
    assert "there is no invariant of that name" in findings.reasons[0]


def test_the_bound_of_an_experiment_counts(killed: Evidence) -> None:
    """On paper the store hears of a death after 10 ms."""
    assert check(asked(killed, invariants={"bounded_detection": 0.009})).verdict is Verdict.INVALID
    assert check(asked(killed, invariants={"bounded_detection": 0.011})).verdict is Verdict.VALID


# what had to be hit


@pytest.mark.parametrize("name", ["kill_while_running", "kill", "kill_worker_while_running", "kill_while_anything"])
def test_what_had_to_be_hit_is_counted(killed: Evidence, name: str) -> None:
    hits = sum(1 for _, holds in Impact.of(Docket.of(killed)).struck if holds)
    least = 1 if name.endswith("running") else 2

    assert check(asked(killed, must_hit={name: least})).verdict is Verdict.VALID
    findings = check(asked(killed, must_hit={name: 50}))
    assert findings.verdict is Verdict.UNKNOWN
    assert findings.missed == (
        f"{name} was to be hit 50 times, and was hit {hits if least == 1 else len(killed.strikes)} times",
    )


def test_coverage_lists_what_was_planned_and_never_hit(killed: Evidence) -> None:
    step = Step(99, 1.0, "stop", {}, Target(Role.WORKER), 2.0, 0)
    plan = replace(killed.plan, steps=(*killed.plan.steps, step))

    coverage = check(replace(killed, plan=plan)).coverage

    assert coverage["stop worker x running_task"] == coverage["stop worker x idle"] == 0
    applied = sum(strike.applied_at is not None for strike in killed.strikes)
    assert coverage["kill worker x running_task"] + coverage["kill worker x idle"] == applied
    assert coverage["kill worker x running_task"] > 0


# recovery


def story(fault: str = "kill", **more: Any) -> Evidence:
    """One task, and a fault at 10.0 while worker-0 has it; it is noticed at 13.0, runs again at 13.2 and ends at 14.0."""
    victim = Victim("root/workers/worker-0", "worker", 50, 1, 7)
    strike = Strike(1, fault, {}, 10.0, 10.0, victim=victim, worker="worker-0", **more)
    calls = [
        Op("invoke", 9.0, 1, "submit", 0, "noop", due=9.0),
        Op("ok", 9.1, 1, "submit", 0, "noop", task_id=ID),
        Op("ok", 14.1, 2, "read", 0, "noop", task_id=ID, status="COMPLETED", digest="d", run="b", value="0"),
        Op("ok", 20.0, 3, "final", 0, "noop", task_id=ID, status="COMPLETED", digest="d", run="b", value="0"),
    ]
    told = [
        ("submit", 9.05, 0, ""),
        ("claim", 9.5, 1, "worker-0@host/1"),
        ("lose_worker", 13.01, 1, "worker-0@host/1"),
        ("claim", 13.2, 2, "worker-1@host/1"),
        ("succeed", 14.0, 2, "worker-1@host/1"),
    ]
    marks = Mark("start", 0, "a", 51, 9.6), Mark("start", 0, "b", 61, 13.21), Mark("end", 0, "b", 61, 13.9)
    children = [
        ChildMove(13.0, 0.0, "child.overdue", victim.path, 1, 50),
        ChildMove(13.005, 0.0, "child.down", victim.path, 1, 50, "heartbeat_lost"),
        ChildMove(13.4, 0.0, "child.up", victim.path, 2, 70),
    ]
    moves = [TaskMove(at, 0.0, ID, move, attempt, worker) for move, at, attempt, worker in told]
    plan = Plan("story", 0, (Step(1, 1.0, fault, {}, Target(), None, 0),))
    evidence = valid(0, tasks=1, strikes=0)
    return replace(
        evidence,
        plan=plan,
        began=9.0,
        ended=15.0,
        settled_at=16.0,
        finished=21.0,
        ops=tuple(calls),
        marks=marks,
        moves=tuple(sorted([*moves, *children], key=lambda move: move.at)),
        strikes=(strike,),
    )


def test_the_course_of_a_recovery_is_told_stage_by_stage() -> None:
    findings = check(story("stop", undone_at=30.0, last_beat_at=9.9))

    (recovery,) = findings.recoveries
    assert recovery.path == "heartbeat"
    assert (recovery.injected, recovery.last_beat, recovery.task_id) == (10.0, 9.9, ID)
    assert (recovery.detected, recovery.queued, recovery.running, recovery.finished) == (13.0, 13.01, 13.2, 14.0)
    found = {key: round(seen.p50, 3) for key, seen in findings.distributions.items() if key.startswith("stop/")}
    assert found == {
        "stop/heartbeat/capacity": 3.4,
        "stop/heartbeat/detected": 3.0,
        "stop/heartbeat/finished": 4.0,
        "stop/heartbeat/queued": 3.01,
        "stop/heartbeat/queued-running": 0.19,
        "stop/heartbeat/running": 3.2,
        "stop/heartbeat/since-beat-detected": 3.1,
        "stop/heartbeat/since-beat-queued": 3.11,
    }
    assert judged(findings, "bounded_detection").detail == "longest: 3.110 s"


def test_a_death_that_is_seen_at_once_is_of_the_other_path() -> None:
    evidence = story()
    moves = tuple(
        replace(it, event="child.down", at=10.002, reason="signal:SIGKILL")
        if isinstance(it, ChildMove) and it.event == "child.overdue"
        else it
        for it in evidence.moves
    )

    (recovery,) = check(replace(evidence, moves=moves)).recoveries

    assert (recovery.path, recovery.detected) == ("sentinel", 10.002)


def test_the_story_of_a_task_ends_with_it_and_with_the_last_read() -> None:
    evidence = story()
    victim = Victim("root/workers/worker-1", "worker", 60, 1, 7)
    later = Strike(2, "kill", {}, 17.0, 17.0, victim=victim, worker="worker-1")
    docket = Docket.of(replace(evidence, strikes=(*evidence.strikes, later)))

    told = of_task(docket.cases[0], Impact.of(docket))

    assert 10.0 in {moment.at for moment in told if moment.source == "nemesis"}
    assert 17.0 not in {moment.at for moment in told}
    assert told[-1].at == 20.0


def test_a_stopped_worker_that_keeps_its_task_too_long_is_told_with_both_figures() -> None:
    judgement = judged(check(story("stop", undone_at=30.0, last_beat_at=9.0)), "bounded_detection")

    assert judgement.verdict is Verdict.INVALID
    assert "4.010 s after the last word of root/workers/worker-0" in judgement.counter_examples[0].why
    assert [moment.source for moment in judgement.counter_examples[0].timeline].count("nemesis") == 2


CUTS_OFF = {"link": "worker-dispatcher"}


@pytest.mark.parametrize(
    ("fault", "options", "at", "verdict"),
    [
        ("net.cut", CUTS_OFF, 10.0, "valid"),
        ("net.cut", CUTS_OFF, 9.5, "invalid"),
        ("net.cut", CUTS_OFF | {"half": True}, 9.5, "invalid"),
        ("net.one_way", CUTS_OFF | {"way": "out"}, 9.5, "invalid"),
        ("net.one_way", CUTS_OFF | {"way": "back"}, 9.5, "unknown"),
        ("net.cut", {"link": "gateway-store"}, 9.5, "unknown"),
        ("net.delay", CUTS_OFF, 9.5, "unknown"),
    ],
)
def test_workers_that_are_cut_off_are_missed_in_time(
    fault: str, options: dict[str, Any], at: float, verdict: str
) -> None:
    """The task is taken away at 13.01; 3.5 s are allowed."""
    strike = Strike(1, fault, options, at, at, undone_at=30.0)

    findings = check(replace(story(fault), strikes=(strike,)))

    assert judged(findings, "bounded_detection").verdict == verdict


def test_a_short_stop_that_costs_nothing_is_not_judged_as_a_loss() -> None:
    evidence = story("stop", undone_at=10.5, last_beat_at=9.9)
    kept = tuple(
        it for it in evidence.moves if isinstance(it, TaskMove) and it.move in ("submit", "claim") and it.attempt < 2
    )
    end = TaskMove(14.0, 0.0, ID, "succeed", 1, "worker-0@host/1")

    findings = check(replace(evidence, moves=(*kept, end)))

    assert judged(findings, "bounded_detection").verdict is Verdict.UNKNOWN
    assert findings.recoveries[0].queued is None


@pytest.mark.parametrize(
    ("name", "bound", "verdict"),
    [("detect_p99", 2.9, "invalid"), ("detect_p99", 3.1, "valid"), ("requeue_max", 3.0, "invalid")],
)
def test_an_expected_recovery_is_kept_or_not(name: str, bound: float, verdict: str) -> None:
    findings = check(asked(story(), recovery={name: bound}))

    assert findings.verdict == verdict
    assert any(f"recovery: {name} is 3." in reason for reason in findings.reasons) == (verdict == "invalid")


def test_an_expected_recovery_that_nothing_was_measured_of_is_unknown() -> None:
    findings = check(asked(story(), recovery={"service_p99": 5.0, "nonsense_p99": 1.0}))

    assert findings.verdict is Verdict.UNKNOWN
    assert len(findings.reasons) == 2


def test_service_is_restored_when_the_canary_is_good_for_good() -> None:
    probe = Probe("canary", "task", Tolerance("max", 500))
    flags = [
        (9.5, True),
        (10.5, True),
        (11.0, False),
        (12.0, True),
        (13.0, False),
        (13.6, True),
        (30.0, False),
        (31.0, True),
    ]
    samples = tuple(Sample(at, "canary", "during", is_tolerable=good) for at, good in flags)
    evidence = story()
    experiment = replace(evidence.experiment, hypothesis=Hypothesis((probe,)))

    findings = check(replace(evidence, experiment=experiment, samples=samples))

    assert [round(it, 3) for it in findings.distributions["kill/other/service"].values] == [3.6]


def test_a_canary_that_the_fault_held_up_tells_of_it() -> None:
    """The fault comes at 10.0."""
    probe = Probe("canary", "task", Tolerance("max", 500))
    samples = (
        Sample(8.0, "canary", "during", is_tolerable=False, took_s=1.9),
        Sample(9.9, "canary", "during", is_tolerable=False, took_s=3.2),
        Sample(13.1, "canary", "during", is_tolerable=True),
    )
    evidence = story()
    experiment = replace(evidence.experiment, hypothesis=Hypothesis((probe,)))

    findings = check(replace(evidence, experiment=experiment, samples=samples))

    assert [round(it, 3) for it in findings.distributions["kill/other/service"].values] == [3.1]


def test_where_no_canary_went_after_a_fault_nothing_is_said_of_service() -> None:
    probe = Probe("canary", "task", Tolerance("max", 500))
    samples = (Sample(9.5, "canary", "before", is_tolerable=True), Sample(500.0, "canary", "after", is_tolerable=True))
    evidence = story()
    experiment = replace(evidence.experiment, hypothesis=Hypothesis((probe,)))

    findings = check(replace(evidence, experiment=experiment, samples=samples))

    assert "kill/other/service" not in findings.distributions


@pytest.mark.parametrize(("part", "value"), [(0.5, 50.0), (0.9, 90.0), (0.99, 99.0), (1.0, 100.0), (0.001, 1.0)])
def test_a_percentile_is_a_value_that_was_measured(part: float, value: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], part) == value


def test_a_distribution_of_one_value_is_that_value() -> None:
    seen = distribution([2.5])

    assert (seen.n, seen.least, seen.p50, seen.p99, seen.most, seen.values) == (1, 2.5, 2.5, 2.5, 2.5, (2.5,))


def test_the_names_of_bounds_are_those_that_experiments_may_use() -> None:
    assert set(BOUNDS) <= set(BOUND_NAMES)


def test_what_was_lost_long_after_a_short_stop_is_not_charged_to_it() -> None:
    (recovery,) = check(story("stop", undone_at=10.5, last_beat_at=9.9)).recoveries

    assert (recovery.detected, recovery.queued, recovery.running) == (None, None, None)
    assert recovery.finished == 14.0


@pytest.mark.parametrize(("fault", "verdict"), [("stop", "valid"), ("kill", "invalid")])
def test_two_runs_at_once_are_allowed_for_a_while_only_where_somebody_may_have_lived_on(
    fault: str, verdict: str
) -> None:
    evidence = story(fault, undone_at=30.0)
    late = Mark("end", 0, "a", 51, 13.7)

    assert judged(check(replace(evidence, marks=(*evidence.marks, late))), "no_overlap").verdict == verdict


# durability


def crash(fault: str, role: str) -> Strike:
    return Strike(1, fault, {}, 10.5, 10.5, victim=Victim(f"root/{role}", role, 60, 1, 8))


@pytest.mark.parametrize("durability", ["always", "everysec"])
@pytest.mark.parametrize(("acknowledged", "is_promised"), [(8.0, True), (9.9, False)])
def test_everysec_may_lose_what_was_acknowledged_just_before_a_crash_of_the_store(
    durability: Any, acknowledged: float, is_promised: bool
) -> None:
    evidence = story()
    gone = Op("fail", 20.0, 3, "final", 0, "noop", task_id=ID, problem="unknown_task")
    ops = (evidence.ops[0], replace(evidence.ops[1], at=acknowledged), gone)
    configuration = replace(evidence.experiment.configuration, durability=durability)
    experiment = replace(evidence.experiment, configuration=configuration)
    strikes = (crash("store.kill", "store"),)

    judgement = judged(check(replace(evidence, experiment=experiment, ops=ops, strikes=strikes)), "no_lost")

    if is_promised or durability == "always":
        assert judgement.verdict is Verdict.INVALID
    else:
        assert judgement.verdict is Verdict.UNKNOWN
        assert "1 acknowledged just before a crash of the store are gone" in judgement.detail


@pytest.mark.parametrize(("durability", "verdict"), [("everysec", "valid"), ("always", "invalid")])
def test_everysec_may_forget_that_a_task_was_started(durability: Any, verdict: str) -> None:
    evidence = story()
    configuration = replace(evidence.experiment.configuration, durability=durability)
    ops = tuple(replace(op, kind="once") for op in evidence.ops)
    experiment = replace(evidence.experiment, configuration=configuration)

    findings = check(replace(evidence, experiment=experiment, ops=ops, strikes=(crash("store.kill", "store"),)))

    assert judged(findings, "at_most_once").verdict == verdict


# small rules


def test_the_copied_table_of_moves_is_the_service_s_own() -> None:
    assert {(str(state), str(move)): str(to) for (state, move), to in task.TRANSITIONS.items()} == TRANSITIONS
    assert set(WORDS) - {str(move) for move in task.Move} == NOTES


def test_the_page_on_the_checker_names_every_invariant() -> None:
    page = (Path(__file__).parents[2] / "docs" / "chaos-checker.md").read_text()

    assert re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE) == list(INVARIANTS)


@pytest.mark.parametrize(
    ("spans", "longest"),
    [
        ([(0, 1), (1, 2)], 0.0),
        ([(0, 2), (1, 3)], 1.0),
        ([(0, 9), (1, 2), (3, 7)], 4.0),
        ([(0, None), (1, 2)], 0.0),
        ([(0, 3), (1, None)], 0.0),
        ([], 0.0),
    ],
)
def test_the_longest_overlap_of_runs(spans: list[tuple[float, float | None]], longest: float) -> None:
    runs = [Run(str(n), 1, since, until, has_started=True) for n, (since, until) in enumerate(spans)]

    assert overlap(runs) == longest


@pytest.mark.parametrize(
    ("strike", "whom"),
    [
        (Strike(1, "kill", {}, 1, 1, victim=Victim("root/gateway", "gateway", 1, 1, 1)), Reach.NOTHING),
        (Strike(1, "net.delay", {"link": "client-gateway"}, 1, 1), Reach.NOTHING),
        (Strike(1, "net.delay", {"link": "worker-dispatcher"}, 1, 1), Reach.TREE),
        (Strike(1, "net.cut", {"link": "worker-dispatcher"}, 1, 1, worker="worker-1"), Reach.WORKER),
        (Strike(1, "kill", {}, 1, 1, victim=Victim("root/dispatcher", "dispatcher", 1, 1, 1)), Reach.TREE),
        (Strike(1, "store.pause", {}, 1, 1), Reach.TREE),
        (Strike(1, "cpu.hog", {}, 1, 1), Reach.TREE),
        (Strike(1, "start.slow", {}, 1, 1), Reach.NOTHING),
    ],
)
def test_whom_a_fault_can_touch(strike: Strike, whom: Reach) -> None:
    assert reach(strike) is whom


def test_a_slot_that_is_killed_hits_only_the_task_that_wrote_its_pid() -> None:
    evidence = story()
    strikes = {
        pid: replace(evidence.strikes[0], victim=Victim("root/workers/worker-0/slot-0", "slot", pid, 1, 7))
        for pid in (51, 52)
    }

    assert len(check(replace(evidence, strikes=(strikes[51],))).recoveries) == 1
    assert not check(replace(evidence, strikes=(strikes[52],))).recoveries


def test_no_invariant_is_without_a_promise() -> None:
    assert all(invariant.promise.endswith(".") for invariant in INVARIANTS.values())
    assert isinstance(Experiment("x").expect.invariants, dict)


def test_a_task_that_is_gone_at_the_end_is_lost_in_the_accounting_too() -> None:
    plant = gone_at_the_end(valid(3), Random(3))
    assert plant is not None

    it = check(plant.evidence).accounting

    assert it.lost == 1
    assert it.acknowledged == it.completed + sum(it.failed.values()) + it.lost
