"""When a running task is over, in virtual time: what is looked at when, what is killed, and what is spared."""

from typing import Any

import pytest

from regrow.actors.effects import Death, Deliver, Effect, Feed, Kill, Measure, Spawn, Steal
from regrow.actors.judge import LOOK_MIN_S, SAMPLE_S, Judge, Usage
from regrow.actors.limits import Limits
from regrow.actors.output import Printed
from regrow.actors.packets import Ended
from regrow.actors.slot import sane
from regrow.actors.slots import Slots
from regrow.actors.task import Digest, FailureKind, Outcome, TaskId
from regrow.actors.wire import TaskToRun

CODE = Digest("code")
VALUE = Ended(b"value", None, 0.001)
KILLED = Death("signal:SIGKILL")


def task(
    name: str, limits: Limits | None = None, deadline_s: float | None = None, expected_s: float | None = None
) -> TaskToRun:
    return TaskToRun(TaskId(name), 1, CODE, b"p", expected_s, None, limits, deadline_s)


def up(count: int, cores: int = 2) -> tuple[Slots, Judge]:
    """Ready slots that know one function, and who judges them."""
    slots = Slots(count)
    slots.start()
    slots.learn({CODE: b"function"})
    for number in range(count):
        slots.ready(number)
    return slots, Judge(slots, cores)


def turns(effects: list[Effect]) -> list[int]:
    return [effect.number for effect in effects if isinstance(effect, Feed)]


def outcomes(effects: list[Effect]) -> list[Outcome]:
    return [effect.outcome for effect in effects if isinstance(effect, Deliver)]


def test_without_limits_there_is_nothing_to_judge() -> None:
    slots, judge = up(1)
    slots.accept([task("t")])

    assert judge.judge(0.0) == []
    assert judge.next_deadline() is None


def test_a_task_whose_time_is_over_is_stolen_from_killed_and_ends() -> None:
    slots, judge = up(1)
    slots.accept([task("t", Limits(wall_s=2.0))])
    judge.judge(10.0)
    assert judge.next_deadline() == 12.0
    assert judge.judge(11.9) == []

    assert judge.judge(12.0) == [Steal(0)]
    assert slots.stolen(0, [], []) == [Kill(0)]
    effects = slots.exited(0, [], [], KILLED)

    [outcome] = outcomes(effects)
    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.failure.type) == (FailureKind.TIMED_OUT, "wall_s")
    assert outcome.ran_s == 2.0
    assert effects[-1] == Spawn(0, 0.0)
    slots.check()


def test_what_is_behind_starts_when_the_one_before_has_answered() -> None:
    slots, judge = up(1)
    first, second = turns(slots.accept([task(name, Limits(wall_s=1.0), expected_s=0.001) for name in "ab"]))
    judge.judge(0.0)

    slots.ended(0, [(first, VALUE)])
    judge.judge(0.9)

    assert judge.judge(1.8) == []
    assert judge.next_deadline() == 1.9
    assert judge.judge(1.9) == [Steal(0)]
    assert second


def test_who_answers_in_the_last_moment_is_spared_and_so_is_the_next() -> None:
    slots, judge = up(1)
    first, _ = turns(slots.accept([task("a", Limits(wall_s=1.0), expected_s=0.001), task("b", expected_s=0.001)]))
    judge.judge(0.0)
    judge.judge(1.0)

    effects = slots.stolen(0, [], [(first, VALUE)])  # the slot is at the next one by now

    assert not any(isinstance(effect, Kill) for effect in effects)
    assert [outcome.value for outcome in outcomes(effects)] == [b"value"]


def test_a_call_that_its_slot_had_not_read_has_not_started_and_is_fed_again() -> None:
    slots, judge = up(1)
    [turn] = turns(slots.accept([task("t", Limits(wall_s=1.0))]))
    judge.judge(0.0)
    judge.judge(1.0)

    [again] = turns(slots.stolen(0, [turn], []))
    assert judge.judge(1.0) == []

    assert again > turn
    assert judge.next_deadline() == 2.0


def test_a_call_that_its_slot_had_not_read_by_its_deadline_ends_and_is_not_fed_again() -> None:
    slots, judge = up(1)
    [turn] = turns(slots.accept([task("t", deadline_s=1.0)]))
    judge.judge(0.0)

    assert judge.judge(1.0) == [Steal(0)]
    effects = slots.stolen(0, [turn], [])

    [outcome] = outcomes(effects)
    assert turns(effects) == []
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.TIMED_OUT
    assert "it was not started" in outcome.failure.message
    slots.check()


def test_calls_behind_the_one_that_is_killed_are_fed_to_others() -> None:
    slots, judge = up(1)
    fed = turns(slots.accept([task("a", Limits(wall_s=1.0), expected_s=0.001), task("b", expected_s=0.001)]))
    judge.judge(0.0)
    judge.judge(1.0)

    assert slots.stolen(0, fed[1:], []) == [Kill(0)]
    slots.exited(0, [], [], KILLED)

    assert len(turns(slots.ready(0))) == 1
    slots.check()


def test_a_deadline_ends_what_waits_and_is_stolen_back_from_a_slot_first() -> None:
    slots, judge = up(1)
    _, unread = turns(slots.accept([task("a", expected_s=0.001), task("b", None, 1.0, 0.001)]))
    slots.accept([task("c", None, 0.5)])
    judge.judge(0.0)
    assert judge.next_deadline() == 0.5

    [late] = outcomes(judge.judge(0.5))
    steal = judge.judge(1.0)
    [later] = outcomes(slots.stolen(0, [unread], []))

    assert steal == [Steal(0)]
    for outcome, name in ((late, "c"), (later, "b")):
        assert outcome.task_id == name
        assert outcome.failure is not None
        assert outcome.failure.type == "deadline_s"
        assert "not started" in outcome.failure.message
    slots.check()


def test_a_deadline_that_is_over_on_arrival_ends_a_task_beside_an_idle_slot() -> None:
    slots, _ = up(1)

    effects = slots.accept([task("t", None, 0.0)])

    assert not turns(effects)
    assert len(outcomes(effects)) == 1


def test_whichever_comes_first_ends_it_and_is_named() -> None:
    for limits, deadline_s, name in ((2.0, 1.0, "deadline_s"), (1.0, 2.0, "wall_s")):
        slots, judge = up(1)
        slots.accept([task("t", Limits(wall_s=limits), deadline_s)])
        judge.judge(0.0)
        judge.judge(1.0)
        slots.stolen(0, [], [])

        [outcome] = outcomes(slots.exited(0, [], [], KILLED))

        assert outcome.failure is not None
        assert outcome.failure.type == name


def test_cpu_time_is_looked_at_when_it_could_be_used_up_at_the_soonest() -> None:
    slots, judge = up(1, cores=4)
    slots.accept([task("t", Limits(cpu_s=8.0))])

    assert judge.judge(0.0) == [Measure(0)]
    assert judge.measured(0, Usage(cpu_s=100.0, own_cpu_s=100.0), 0.0) == []
    assert judge.next_deadline() == 2.0
    assert judge.judge(2.0) == [Measure(0)]
    assert judge.measured(0, Usage(cpu_s=104.0, own_cpu_s=100.5), 2.0) == []
    assert judge.next_deadline() == 3.0
    judge.measured(0, Usage(cpu_s=107.999, own_cpu_s=100.5), 3.0)
    assert judge.next_deadline() == 3.0 + LOOK_MIN_S
    assert judge.measured(0, Usage(cpu_s=108.01, own_cpu_s=100.5), 3.1) == [Steal(0)]


def test_memory_is_compared_without_what_the_slot_had_before_and_processes_are_counted() -> None:
    slots, judge = up(1)
    slots.accept([task("t", Limits(memory_bytes=100, processes=3))])
    judge.judge(0.0)
    judge.measured(0, Usage(memory_bytes=50, own_memory_bytes=50), 0.0)
    assert judge.next_deadline() == SAMPLE_S

    assert judge.measured(0, Usage(memory_bytes=150, processes=3, own_memory_bytes=60), 0.1) == []
    assert judge.next_deadline() > 0.1 + SAMPLE_S  # type: ignore[operator]
    assert judge.measured(0, Usage(memory_bytes=151, processes=3, own_memory_bytes=60), 0.2) == [Steal(0)]


def test_printing_is_watched_while_it_runs_and_counted_when_it_has_ended() -> None:
    slots, judge = up(1)
    [turn] = turns(slots.accept([task("t", Limits(output_bytes=10))]))
    judge.judge(0.0)

    assert judge.printing(0, 10, 0.1) == []
    slots.printed(0, {turn: Printed(b"0123456789a", 11)})
    [outcome] = outcomes(slots.ended(0, [(turn, VALUE)]))

    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.failure.type) == (FailureKind.LIMIT, "output_bytes")
    assert outcome.printed == b"0123456789a"


def test_who_prints_too_much_is_killed_at_once() -> None:
    slots, judge = up(1)
    slots.accept([task("t", Limits(output_bytes=10))])
    judge.judge(0.0)

    assert judge.printing(0, 11, 0.1) == [Steal(0)]
    assert slots.stolen(0, [], []) == [Kill(0)]


@pytest.mark.parametrize(
    ("death", "kind", "is_victim"),
    [
        (Death("signal:SIGKILL", is_oom=True, peak_bytes=2**30), FailureKind.OOM, True),
        (Death("signal:SIGKILL"), FailureKind.CRASHED, False),
    ],
)
def test_a_kill_that_is_nobody_elses_is_the_kernels_if_it_has_killed(
    death: Death, kind: FailureKind, is_victim: bool
) -> None:
    slots, _ = up(1)
    slots.accept([task("t")])

    [outcome] = outcomes(slots.exited(0, [], [], death))

    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.is_victim) == (kind, is_victim)


def test_a_kill_for_a_limit_is_no_victim_whatever_the_kernel_does_meanwhile() -> None:
    slots, judge = up(1)
    slots.accept([task("t", Limits(wall_s=1.0))])
    judge.judge(0.0)
    judge.judge(1.0)
    slots.stolen(0, [], [])

    [outcome] = outcomes(slots.exited(0, [], [], Death("signal:SIGKILL", is_oom=True)))

    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.is_victim) == (FailureKind.TIMED_OUT, False)


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), 1e300, None])
def test_an_amount_that_nothing_can_be_compared_with_is_no_limit(amount: Any) -> None:
    assert sane(Limits(wall_s=amount)) is None
    assert sane(Limits(wall_s=amount, cpu_s=-1.0)) == Limits(cpu_s=0)
