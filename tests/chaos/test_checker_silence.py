"""Histories that keep every promise: the checker has nothing to say against them, whatever was done to the tree."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regrow.chaos.checker import INVARIANTS, check
from regrow.chaos.evidence import Evidence, Verdict
from regrow.chaos.experiment import Expectations
from support.histories import FAULTS, MIX, valid

courses = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "tasks": st.integers(1, 100),
        "strikes": st.integers(0, 12),
        "faults": st.lists(st.sampled_from(FAULTS), min_size=1, unique=True).map(tuple),
        "workers": st.integers(1, 4),
        "durability": st.sampled_from(["always", "everysec"]),
        "rate": st.sampled_from([3.0, 12.0, 40.0]),
        "mix": st.fixed_dictionaries({kind: st.integers(1, 5) for kind in MIX}),
    }
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(courses)
def test_nothing_is_said_against_a_run_that_kept_every_promise(course: dict[str, object]) -> None:
    findings = check(valid(**course))  # type: ignore[arg-type]

    assert not [(it.invariant, it.counter_examples) for it in findings.judgements if it.verdict is Verdict.INVALID]
    assert findings.verdict is not Verdict.INVALID
    assert [it.invariant for it in findings.judgements] == list(INVARIANTS)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(courses)
def test_the_accounting_of_every_run_adds_up(course: dict[str, object]) -> None:
    evidence: Evidence = valid(**course)  # type: ignore[arg-type]

    sums = check(evidence).accounting

    assert sums.attempted == course["tasks"] == sum(sums.executions.values())
    assert sums.attempted == sums.acknowledged + sum(sums.rejected.values()) + sums.unknown
    assert sums.acknowledged == sums.completed + sum(sums.failed.values()) + sums.lost
    unanswered = {op.number for op in evidence.ops if op.action == "submit" and op.type == "info"}
    assert sums.unknown == len(unanswered)
    assert sums.recovered == len(unanswered & {mark.number for mark in evidence.marks})
    assert sums.quarantined == sums.failed.get("quarantined", 0)
    assert sum(n * tasks for n, tasks in sums.executions.items()) == sum(
        mark.word == "start" for mark in evidence.marks
    )


def test_with_every_fault_at_work_every_invariant_is_put_to_the_test_somewhere() -> None:
    """Else silence would prove nothing."""
    proven = set()
    for seed in range(12):
        findings = check(valid(seed))
        proven |= {it.invariant for it in findings.judgements if it.verdict is Verdict.VALID}

    assert proven == set(INVARIANTS)


def test_the_same_evidence_gives_the_same_findings() -> None:
    assert check(valid(7)) == check(valid(7))


def test_only_what_is_asked_is_judged() -> None:
    evidence = valid(1)
    asked = Expectations(invariants={"no_lost": None, "no_overlap_beyond": 3.5})
    experiment = type(evidence.experiment)("asked", expect=asked)
    findings = check(
        Evidence(**{name: getattr(evidence, name) for name in evidence.__struct_fields__} | {"experiment": experiment})
    )

    assert [it.invariant for it in findings.judgements] == ["no_lost", "no_overlap"]
