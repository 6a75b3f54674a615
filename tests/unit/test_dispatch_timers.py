"""What a dispatcher does about time that the store keeps, about limits, and about tasks that somebody cancels."""

import msgspec
import pytest

from regrow.actors import stimuli, wire
from regrow.actors.leases import move_of
from regrow.actors.limits import Limits
from regrow.actors.task import Drop, Failure, FailureKind, Move, Outcome, TaskId, WorkerId
from support.dispatching import Bench, claimed, claims, held, hello, lease, moves, outcome, ran, sent


def promotions(effects: list[stimuli.Effect]) -> int:
    return sum(isinstance(effect, stimuli.Promote) for effect in effects)


def drop(number: int, worker: str, attempt: int = 1) -> stimuli.Dropped:
    return stimuli.Dropped([Drop(TaskId(f"t{number}"), attempt, WorkerId(worker))])


# Time


def test_what_is_due_is_asked_for_at_the_start_and_when_its_time_comes() -> None:
    bench = Bench()
    assert promotions(bench.effects) == 1

    bench.feed(stimuli.Promoted(0, 5.0))

    assert bench.core.next_deadline() == 105.0
    assert promotions(bench.until(104.9)) == 0
    assert promotions(bench.until(105.0)) == 1
    assert promotions(bench.until(106.0)) == 0, "one call at a time"


def test_nothing_is_asked_while_nothing_waits() -> None:
    bench = Bench()

    bench.feed(stimuli.Promoted(3, None))

    assert bench.core.next_deadline() is None


def test_a_time_that_is_new_while_a_call_is_under_way_is_asked_for_after_it() -> None:
    bench = Bench()
    assert promotions(bench.feed(stimuli.TimersChanged())) == 0

    assert promotions(bench.feed(stimuli.Promoted(0, 100.0))) == 1, "that answer may not have seen it"
    assert promotions(bench.feed(stimuli.Promoted(0, 1.0))) == 0
    assert bench.core.next_deadline() == 101.0


def test_a_store_that_was_away_is_asked_again() -> None:
    bench = Bench()
    bench.feed(stimuli.Promoted(0, 50.0))

    assert promotions(bench.feed(stimuli.StoreBack([]))) == 1


# Cancelling


def test_drops_are_fetched_when_there_may_be_any() -> None:
    bench = Bench()

    assert [effect for effect in bench.feed(stimuli.DropsWaiting()) if isinstance(effect, stimuli.FetchDrops)]


def test_a_cancelled_task_is_dropped_by_its_worker_whose_slot_is_free_again() -> None:
    bench = Bench()
    bench.say("a", hello("a", slots=1))
    bench.give(1, to="a", left=1)
    assert len(claims(bench.effects)) == 1, "no room for the second"

    effects = bench.feed(drop(1, "a"))

    assert sent(effects, wire.Drop) == [("a", wire.Drop([lease(1)]))]
    assert [share.free for share in claims(effects)[0].shares] == [1]
    bench.say("a", wire.Done([outcome(1)]))
    assert moves(bench.effects)[-1] == ("t1", Move.SUCCEED), "late, and for the store to refuse"


def test_a_task_that_is_cancelled_before_it_was_sent_is_not_sent() -> None:
    bench = Bench()
    bench.say("a", hello("a"))

    effects = bench.feed(stimuli.ClaimAnswered([claimed(1, "a"), claimed(2, "a")], 0), drop(1, "a"))

    assert ran(effects) == [("a", "t2")]


def test_an_orphan_that_is_cancelled_is_nobodys() -> None:
    bench = Bench(held=[held(1, "a")])

    bench.feed(drop(1, "a"))

    assert sent(bench.say("a", hello("a", held=[lease(1)])), wire.Drop) == [("a", wire.Drop([lease(1)]))]


def test_another_attempt_than_the_cancelled_one_is_left_alone() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, to="a")

    bench.feed(drop(1, "a", attempt=7), drop(2, "nobody"))

    assert [key for key, _ in bench.core.leases.where()] == [("t1", 1)]


# Limits


@pytest.mark.parametrize(
    ("asked", "caps", "allowed"),
    [
        (None, Limits(), None),
        (Limits(wall_s=5), Limits(), Limits(wall_s=5)),
        (None, Limits(wall_s=3), Limits(wall_s=3)),
        (Limits(wall_s=5, processes=2), Limits(wall_s=3, processes=4), Limits(wall_s=3, processes=2)),
    ],
)
def test_a_task_is_sent_with_its_limits_within_the_caps(
    asked: Limits | None, caps: Limits, allowed: Limits | None
) -> None:
    bench = Bench()
    bench.core.leases.caps = caps
    bench.say("a", hello("a"))
    task = msgspec.structs.replace(claimed(1, "a"), limits=asked, deadline_s=7.0, checksum=9)

    [(_, run)] = sent(bench.feed(stimuli.ClaimAnswered([task], 0)), wire.Run)

    assert [(it.limits, it.deadline_s, it.checksum) for it in run.tasks] == [(allowed, 7.0, 9)]


def test_a_tasks_own_limits_go_over_its_functions() -> None:
    assert Limits(wall_s=1).over(Limits(wall_s=9, cpu_s=2)) == Limits(wall_s=1, cpu_s=2)
    assert Limits(wall_s=1).over(None) == Limits(wall_s=1)


@pytest.mark.parametrize(
    ("kind", "is_victim", "move"),
    [
        (FailureKind.CRASHED, False, Move.CRASH),
        (FailureKind.OOM, True, Move.OOM),
        (FailureKind.OOM, False, Move.FAIL),
        (FailureKind.TIMED_OUT, False, Move.FAIL),
        (FailureKind.RAISED, False, Move.FAIL),
    ],
)
def test_only_a_death_that_was_not_its_own_doing_leaves_another_attempt(
    kind: FailureKind, is_victim: bool, move: Move
) -> None:
    assert move_of(Outcome(TaskId("t"), 1, failure=Failure(kind, "T", "m"), is_victim=is_victim)) is move
