"""What a dispatcher does when memory is short, and how a worker tells that it is: by examples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrow.actors import stimuli, wire
from regrow.actors.events import Event
from regrow.actors.limits import Limits
from regrow.actors.pressure import AGAIN_S, CRITICAL_BYTES, HIGH_BYTES, MIB, Reading, Scale, capped, shed_for
from regrow.actors.stimuli import ClaimAnswered, Effect
from regrow.actors.task import Claimed, FailureKind, TaskId, WorkerId
from regrow.actors.wire import Level
from support.dispatching import Bench, F, claimed, claims, hello, moves, outcome, ran, sent

BUDGET = 512 * MIB


def short(level: Level, **uses: int) -> wire.Pressure:
    """A word on memory; ``t1=100``: task 1 has taken 100 MiB."""
    running = [wire.Use(TaskId(name), 1, mib * MIB) for name, mib in uses.items()]
    return wire.Pressure(level, BUDGET, BUDGET, running)


def shed(effects: list[Effect]) -> list[tuple[str, str]]:
    return [(worker, message.lease.task_id) for worker, message in sent(effects, wire.Shed)]


def busy(*numbers: int, to: str = "a", slots: int = 4, once: tuple[int, ...] = ()) -> Bench:
    """A dispatcher with a worker that runs these tasks, taken one after the other; those in ``once`` have a single attempt."""
    bench = Bench()
    bench.say(to, hello(to, slots=slots, memory="m"))
    for number in numbers:
        bench.now += 0.001
        task = Claimed(TaskId(f"t{number}"), 1, WorkerId(to), F, b"p", may_run_again=number not in once)
        bench.feed(ClaimAnswered([task], 1))
    return bench


# Levels


@pytest.mark.parametrize("budget", [BUDGET, 64 * 1024 * MIB])
def test_a_level_begins_at_its_line_and_ends_only_well_above_it(budget: int) -> None:
    scale = Scale()
    high, critical = min(0.2 * budget, HIGH_BYTES), min(0.1 * budget, CRITICAL_BYTES)

    def with_left(left: float) -> Level:
        return scale.weigh(Reading(budget - int(left), budget))

    assert with_left(high + MIB) is Level.OK
    assert with_left(high - MIB) is Level.HIGH
    assert with_left(1.2 * high) is Level.HIGH
    assert with_left(critical - MIB) is Level.CRITICAL
    assert with_left(1.2 * critical) is Level.CRITICAL
    assert with_left(1.3 * critical) is Level.HIGH
    assert with_left(1.3 * high) is Level.OK


@given(st.lists(st.integers(0, 2 * BUDGET)))
def test_less_left_never_means_a_lower_level(used: list[int]) -> None:
    scale = Scale()
    for used_bytes in used:
        before = scale.level
        here = scale.weigh(Reading(used_bytes, BUDGET))
        more = Scale(before).weigh(Reading(used_bytes + MIB, BUDGET))
        assert here <= more


# Intake


def test_where_memory_is_short_nothing_new_is_started_until_it_is_not() -> None:
    bench = busy(1)

    assert not claims(bench.say("a", short(Level.HIGH)))
    assert not claims(bench.give(to="a", left=5))
    assert not claims(bench.feed(stimuli.Woken()))

    assert claims(bench.say("a", short(Level.OK)))
    assert states(bench.effects) == ["high", "ok"]


def states(effects: list[Effect]) -> list[object]:
    """How short memory has been, as it was reported."""
    reports = [effect for effect in effects if isinstance(effect, stimuli.Report)]
    return [report.fields["state"] for report in reports if report.event is Event.MEMORY_PRESSURE]


def test_pressure_that_only_a_lost_worker_knew_of_is_reported_to_be_over() -> None:
    bench = busy(1)
    bench.say("b", hello("b", memory="m"))
    bench.say("b", short(Level.HIGH))
    bench.say("a", short(Level.CRITICAL))

    bench.feed(stimuli.WorkerDown(WorkerId("a"), "killed"))
    assert states(bench.effects) == ["high", "critical", "high"]
    bench.feed(stimuli.WorkerDown(WorkerId("b"), "killed"))
    assert states(bench.effects) == ["high", "critical", "high", "ok"]
    bench.feed(stimuli.Woken())
    assert states(bench.effects) == ["high", "critical", "high", "ok"]


def test_workers_of_one_memory_pause_together_and_others_do_not() -> None:
    bench = busy(1)
    bench.say("b", hello("b", memory="m"))
    bench.say("c", hello("c", memory="elsewhere"))
    bench.give(to="a", left=5)

    bench.say("a", short(Level.HIGH))
    bench.give(to="a", left=5)

    assert [share.worker for share in claims(bench.effects)[-1].shares] == ["c"]


def test_what_was_claimed_meanwhile_goes_back_and_what_has_not_started_is_called_back() -> None:
    bench = busy(1, slots=1)
    bench.say("a", wire.Done([outcome(1)]))
    bench.give(2, 3, 4, to="a", left=5)

    effects = bench.say("a", short(Level.HIGH))
    assert sent(effects, wire.Recall) == [("a", wire.Recall(2))]

    effects = bench.give(5, to="a", left=5)
    assert not ran(effects)
    bench.settled()
    assert ("t5", "give_back") in moves(bench.effects)


def test_where_nothing_runs_at_all_one_task_is_let_in_at_a_time() -> None:
    bench = busy(1)
    bench.say("b", hello("b", memory="m"))
    bench.give(to="a", left=5)
    bench.say("a", short(Level.HIGH))
    bench.give(to="a", left=5)
    asked = len(claims(bench.effects))

    [claim] = claims(bench.say("a", wire.Done([outcome(1, ran_s=9.0)])))

    assert [share.free for share in claim.shares] == [1]
    assert len(claims(bench.effects)) == asked + 1
    assert not claims(bench.give(2, to=claim.shares[0].worker, left=5))


def test_a_worker_that_is_lost_or_introduces_itself_anew_takes_its_word_with_it() -> None:
    for end in (stimuli.WorkerDown(WorkerId("a"), "killed"), stimuli.WorkerSaid(WorkerId("a"), hello("a", memory="m"))):
        bench = busy(1)
        bench.say("b", hello("b", memory="m"))
        bench.say("a", short(Level.HIGH))
        bench.give(to="a", left=5)

        bench.feed(end)
        bench.say("b", wire.Done([]))  # a claim that brought nothing is not repeated before somebody speaks

        assert "b" in [share.worker for share in claims(bench.effects)[-1].shares]
        assert [share.free for share in claims(bench.effects)[-1].shares if share.worker == "b"] == [2]


# Victims


def test_the_newest_that_has_more_than_the_average_is_killed() -> None:
    bench = busy(1, 2, 3, 4)

    assert shed(bench.say("a", short(Level.CRITICAL, t1=100, t2=90, t3=80, t4=0))) == [("a", "t3")]


def test_a_task_with_a_single_attempt_is_killed_only_if_no_other_has_its_share() -> None:
    assert shed(busy(1, 2, once=(2,)).say("a", short(Level.CRITICAL, t1=100, t2=100))) == [("a", "t1")]
    assert shed(busy(1, 2, once=(2,)).say("a", short(Level.CRITICAL, t1=10, t2=200))) == [("a", "t2")]


def test_nobody_dies_whose_death_would_free_nothing() -> None:
    assert not shed(busy(1, 2).say("a", short(Level.CRITICAL, t1=7, t2=2)))
    assert not shed(busy(1).say("a", short(Level.CRITICAL)))


def test_what_has_ended_meanwhile_and_what_high_pressure_names_is_not_killed() -> None:
    bench = busy(1)
    assert not shed(bench.say("a", short(Level.HIGH, t1=100)))

    assert not shed(bench.say("a", wire.Done([outcome(1)]), short(Level.CRITICAL, t1=100)))


def test_what_is_said_of_memory_is_counted_like_every_message() -> None:
    bench = busy(1, slots=1)
    bench.say("a", wire.Done([outcome(1)]))
    bench.give(2, 3, 4, to="a", left=5)
    bench.say("a", short(Level.CRITICAL, t2=100))
    assert sent(bench.effects, wire.Recall)
    assert sent(bench.effects, wire.Shed)

    [(_, reflect)] = sent(bench.say("a", wire.Beat(1)), wire.Reflect)

    said = [it for it in bench.effects if isinstance(it, stimuli.Send) and not isinstance(it.message, wire.Reflect)]
    assert reflect.sent == len(said)


def test_the_victim_is_chosen_among_all_workers_of_the_memory() -> None:
    bench = busy(1)
    bench.say("b", hello("b", memory="m"))
    bench.now += 1
    bench.feed(ClaimAnswered([claimed(2, "b")], 0))
    bench.say("b", short(Level.HIGH, t2=100))

    assert shed(bench.say("a", short(Level.CRITICAL, t1=100))) == [("b", "t2")]


def test_one_is_killed_at_a_time_until_its_worker_has_told_of_its_end_or_it_is_long_ago() -> None:
    bench = busy(1, 2, 3)
    bench.say("b", hello("b", memory="m"))
    everything = short(Level.CRITICAL, t1=100, t2=100, t3=100)
    assert shed(bench.say("a", everything)) == [("a", "t3")]

    assert not shed(bench.say("a", everything))
    assert not shed(bench.say("b", short(Level.CRITICAL)))
    bench.say("a", wire.Done([outcome(3)]))
    assert not shed(bench.say("b", short(Level.CRITICAL))), "it may have looked before"
    assert shed(bench.say("a", everything)) == [("a", "t2")]

    bench.now += AGAIN_S
    assert shed(bench.say("b", short(Level.CRITICAL))) == [("a", "t2")]


# Words


def test_a_victim_hears_how_full_memory_was_and_what_to_do() -> None:
    failure = shed_for(short(Level.CRITICAL))

    assert failure.kind is FailureKind.OOM
    assert "512 MiB of 512 were in use" in failure.message
    assert "--memory-budget-bytes" in failure.message


def test_a_worker_with_a_budget_caps_every_task() -> None:
    tasks = [
        wire.TaskToRun(TaskId(f"t{n}"), 1, F, b"p", limits=limits)
        for n, limits in enumerate([None, Limits(memory_bytes=5), Limits(memory_bytes=500, wall_s=1.0)])
    ]

    assert [task.limits for task in capped(tasks, Limits(memory_bytes=100))] == [
        Limits(memory_bytes=100),
        Limits(memory_bytes=5),
        Limits(memory_bytes=100, wall_s=1.0),
    ]
    assert capped(tasks, Limits()) == tasks
