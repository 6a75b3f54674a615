"""What a dispatcher decides, by examples: time is a number, store and workers are what the test says they are."""

import msgspec
import pytest

from regrow.actors import stimuli, wire
from regrow.actors.events import Event
from regrow.actors.ledger import OWED_BYTES
from regrow.actors.placement import AHEAD_BYTES, AHEAD_S
from regrow.actors.task import Failure, FailureKind, Outcome, TaskId, Verdict, WorkerId
from regrow.actors.wire import Mode
from regrow.runtime.spec import Heartbeat
from support.dispatching import Bench, F, claimed, claims, held, hello, lease, moves, outcome, ran, sent

WINDOW_S = Heartbeat().window_s


def events(effects: list[stimuli.Effect]) -> list[Event]:
    return [effect.event for effect in effects if isinstance(effect, stimuli.Report)]


# Claims


def test_a_claim_waits_for_a_worker_and_then_asks_for_its_slots() -> None:
    bench = Bench()
    assert not claims(bench.feed(stimuli.Woken()))

    effects = bench.say("a", hello("a", slots=3))

    assert sent(effects, wire.Welcome)
    [claim] = claims(effects)
    assert [(share.worker, share.free) for share in claim.shares] == [("a", 3)]
    assert claim.expected_s == {}


def test_one_claim_is_in_flight_at_most_and_each_has_an_id_of_its_own() -> None:
    bench = Bench()
    bench.say("a", hello("a"))

    assert not claims(bench.feed(stimuli.Woken()))
    effects = bench.give(1, to="a")

    assert ran(effects) == [("a", "t1")]
    assert len({claim.claim_id for claim in claims(bench.effects)}) == len(claims(bench.effects)) == 2


def test_nothing_is_claimed_from_an_empty_queue_until_it_is_woken() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    assert not claims(bench.give(to="a"))

    assert not claims(bench.say("b", hello("b")))

    assert claims(bench.feed(stimuli.Woken()))


def test_a_wake_that_comes_while_a_claim_is_in_flight_is_not_forgotten() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.feed(stimuli.Woken())

    assert claims(bench.give(to="a", left=0))


def test_a_lost_wake_is_made_up_for_by_the_pulse() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(to="a")

    assert claims(bench.feed(stimuli.Pulsed(queued=1, silent=[])))


def test_nothing_is_claimed_while_the_store_is_owed_too_much() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, to="a", left=5)
    large = Outcome(TaskId("t1"), 1, b"v" * OWED_BYTES, None, 1.0)

    effects = bench.say("a", wire.Done([large]))
    assert moves(effects) == [("t1", "succeed")]
    bench.give(to="a", left=5)
    assert not claims(bench.say("a", wire.Done([])))

    assert claims(bench.settled())


def test_no_more_than_a_bound_of_parameters_goes_ahead_to_a_worker() -> None:
    bench = Bench()
    bench.say("a", hello("a", slots=1))
    bench.give(1, to="a", left=5)
    bench.say("a", wire.Done([outcome(1, ran_s=0.0001)]))
    assert claims(bench.effects)[-1].shares[0].ahead_s > 0

    large = msgspec.structs.replace(claimed(2, "a"), params=b"p" * AHEAD_BYTES)
    effects = bench.feed(stimuli.ClaimAnswered([large], 5))

    assert ran(effects) == [("a", "t2")]
    assert not claims(effects)
    assert claims(bench.say("a", wire.Done([outcome(2)])))


def test_cancelled_tasks_are_asked_for_by_one_call_at_a_time_and_none_is_missed() -> None:
    bench = Bench()
    assert bench.feed(stimuli.DropsWaiting(), stimuli.DropsWaiting()).count(stimuli.FetchDrops()) == 1
    assert stimuli.FetchDrops() not in bench.feed(stimuli.DropsWaiting())

    assert stimuli.FetchDrops() in bench.feed(stimuli.Dropped([]))
    assert stimuli.FetchDrops() not in bench.feed(stimuli.Dropped([]))
    assert stimuli.FetchDrops() in bench.feed(stimuli.DropsWaiting())


def test_a_full_worker_is_not_stuffed() -> None:
    bench = Bench()
    bench.say("a", hello("a", slots=2))

    effects = bench.give(1, 2, to="a", left=5)

    assert not claims(effects)
    [claim] = claims(bench.say("a", wire.Done([outcome(1, ran_s=9.0)])))
    assert [(share.free, share.worker) for share in claim.shares] == [(1, "a")]


def test_work_goes_ahead_only_for_functions_known_to_be_short() -> None:
    bench = Bench()
    bench.say("a", hello("a", slots=1))
    bench.give(1, to="a", left=5)

    [claim] = claims(bench.say("a", wire.Done([outcome(1, ran_s=0.002)])))

    assert claim.expected_s == {F: 0.002}
    assert claim.shares[0].ahead_s == pytest.approx(AHEAD_S)
    effects = bench.give(2, 3, 4, to="a", left=2)
    assert [task.expected_s for _, run in sent(effects, wire.Run) for task in run.tasks] == [0.002] * 3
    assert claims(effects)[0].shares[0].ahead_s == pytest.approx(AHEAD_S - 3 * 0.002)


def test_what_becomes_free_while_a_claim_finds_nothing_that_fits_is_claimed_for_at_once() -> None:
    bench = Bench()
    bench.say("a", hello("a", slots=1))
    bench.give(1, to="a", left=9)
    bench.say("a", wire.Done([outcome(1, ran_s=0.001)]))
    bench.give(2, to="a", left=9)
    bench.say("a", wire.Done([outcome(2)]))

    [again] = claims(bench.feed(stimuli.ClaimAnswered([], 9)))

    assert again.shares[0].free == 1


def test_a_queue_whose_head_does_not_fit_is_not_asked_again_before_something_has_changed() -> None:
    bench = Bench()
    bench.say("a", hello("a", slots=1))
    bench.give(1, to="a", left=9)
    bench.say("a", wire.Done([outcome(1, ran_s=0.001)]))
    bench.give(2, to="a", left=9)

    assert not claims(bench.give(to="a", left=9))
    assert not claims(bench.say("a", wire.Beat([0])))
    assert not claims(bench.feed(stimuli.Woken()))

    assert claims(bench.say("a", wire.Done([outcome(2, ran_s=0.001)])))


def test_the_least_loaded_worker_comes_first_and_ties_rotate() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.say("b", hello("b"))
    bench.give(1, to="a", left=1)

    assert [share.worker for share in claims(bench.effects)[-1].shares] == ["b", "a"]

    bench.give(2, to="b", left=1)
    assert [share.worker for share in claims(bench.effects)[-1].shares] == ["a", "b"]


def test_a_pull_worker_gets_no_more_than_it_granted() -> None:
    bench = Bench()
    assert not claims(bench.say("a", hello("a", slots=4, mode=Mode.PULL)))

    [claim] = claims(bench.say("a", wire.Grant(2)))
    assert [(share.free, share.ahead_s) for share in claim.shares] == [(2, 0.0)]
    assert not claims(bench.give(1, 2, to="a", left=3))

    [claim] = claims(bench.say("a", wire.Done([outcome(1)])))
    assert claim.shares[0].free == 1


def test_a_pull_worker_whose_tasks_have_ended_need_not_grant_the_same_again() -> None:
    bench = Bench()
    bench.say("a", hello("a", slots=2, mode=Mode.PULL), wire.Grant(2))
    bench.give(1, 2, to="a", left=3)

    [claim] = claims(bench.say("a", wire.Done([outcome(1), outcome(2)])))

    assert claim.shares[0].free == 2


def test_a_grant_that_crossed_with_tasks_is_not_taken_for_more_room() -> None:
    bench = Bench()
    bench.say("a", hello("a", slots=2, mode=Mode.PULL), wire.Grant(2))
    bench.give(1, 2, to="a", left=3)

    assert not claims(bench.say("a", wire.Grant(2)))


def test_a_grant_beyond_the_slots_is_a_number_of_short_tasks() -> None:
    bench = Bench()
    bench.say("a", hello("a", slots=1, mode=Mode.PULL), wire.Grant(1))
    bench.give(1, to="a", left=9)

    [claim] = claims(bench.say("a", wire.Done([outcome(1, ran_s=0.001)]), wire.Grant(4)))

    assert claim.shares[0].free == 1
    assert claim.shares[0].ahead_s == pytest.approx(3 * 0.001)


def test_tasks_claimed_for_a_worker_that_is_lost_meanwhile_go_back_to_the_queue() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.say("b", hello("b", slots=1))
    bench.feed(stimuli.WorkerDown(WorkerId("a"), "signal:SIGKILL"))

    effects = bench.give(1, 2, to="a")

    assert not ran(effects)
    assert moves(effects) == [("t1", "give_back"), ("t2", "give_back")]
    assert [share.worker for share in claims(bench.settled(Verdict.REQUEUED))[-1].shares] == ["b"]


# Outcomes


def test_what_a_leaving_worker_does_not_name_was_never_started_and_costs_nothing() -> None:
    bench = Bench(held=[held(4, "a")])
    bench.say("a", hello("a", slots=4))
    bench.give(1, 2, 3, to="a")

    effects = bench.say("a", wire.Leaving(), wire.Leaving(is_final=True, undone=[lease(2)]))

    assert moves(effects) == [("t1", "give_back"), ("t3", "give_back"), ("t4", "give_back"), ("t2", "lose_worker")]


def test_an_outcome_is_settled_and_acknowledged_only_when_the_store_has_it() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, to="a")

    effects = bench.say("a", wire.Done([outcome(1)]))
    assert moves(effects) == [("t1", "succeed")]
    assert not sent(effects, wire.Ack)

    assert sent(bench.settled(), wire.Ack) == [("a", wire.Ack([lease(1)]))]


def test_what_ends_while_a_batch_is_written_goes_with_the_next() -> None:
    bench = Bench()
    bench.say("a", hello("a", slots=4))
    bench.give(1, 2, 3, to="a")
    bench.say("a", wire.Done([outcome(1)]))

    assert not moves(bench.say("a", wire.Done([outcome(2)])))
    assert not moves(bench.say("a", wire.Done([outcome(3)])))

    assert moves(bench.settled()) == [("t2", "succeed"), ("t3", "succeed")]


def test_a_repeated_outcome_is_settled_once() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, to="a")
    bench.say("a", wire.Done([outcome(1)]))

    bench.say("a", wire.Done([outcome(1)]))

    assert not moves(bench.settled())


def test_an_outcome_of_an_unknown_lease_is_left_to_the_stores_fence_and_acknowledged() -> None:
    bench = Bench()

    effects = bench.say("stranger", wire.Done([outcome(7)]))

    assert moves(effects) == [("t7", "succeed")]
    assert sent(effects, wire.WhoAreYou) == [("stranger", wire.WhoAreYou())]
    assert sent(bench.settled(Verdict.STALE), wire.Ack) == [("stranger", wire.Ack([lease(7)]))]


def test_an_outcome_of_a_former_attempt_does_not_end_the_present_one() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.feed(stimuli.ClaimAnswered([claimed(1, "a", attempt=2)], 0))

    effects = bench.say("a", wire.Done([outcome(1, attempt=1)]))

    [settle] = [effect for effect in effects if isinstance(effect, stimuli.Settle)]
    assert [settlement.attempt for settlement in settle.settlements] == [1]
    bench.settled(Verdict.STALE)
    assert moves(bench.feed(stimuli.WorkerDown(WorkerId("a"), "signal:SIGKILL"))) == [("t1", "lose_worker")]


@pytest.mark.parametrize(
    ("kind", "move"),
    [
        (FailureKind.RAISED, "fail"),
        (FailureKind.TIMED_OUT, "fail"),
        (FailureKind.OOM, "fail"),
        (FailureKind.CRASHED, "crash"),
    ],
)
def test_only_the_death_of_its_slot_gives_a_task_another_attempt(kind: FailureKind, move: str) -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, to="a")

    effects = bench.say("a", wire.Done([Outcome(TaskId("t1"), 1, None, Failure(kind, "E", "e"))]))

    assert moves(effects) == [("t1", move)]


def test_an_outcome_without_value_and_failure_counts_as_a_crash() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, to="a")

    assert moves(bench.say("a", wire.Done([Outcome(TaskId("t1"), 1)]))) == [("t1", "crash")]


def test_a_requeued_task_is_claimed_again() -> None:
    bench = Bench()
    bench.say("a", hello("a", slots=1))
    bench.give(1, to="a")
    bench.say("a", wire.Done([Outcome(TaskId("t1"), 1, None, Failure(FailureKind.CRASHED, "Signal", "SIGSEGV"))]))

    assert claims(bench.settled(Verdict.REQUEUED))


# Workers come and go


def test_the_leases_of_a_worker_that_ends_go_back_at_once() -> None:
    bench = Bench(tree="T")
    effects = bench.say("a", hello("a", tree="T", path="root/workers/worker-0"))
    assert stimuli.Monitor(WorkerId("a"), "root/workers/worker-0") in effects
    bench.give(1, 2, to="a")

    effects = bench.feed(stimuli.WorkerDown(WorkerId("a"), "signal:SIGKILL"))

    assert moves(effects) == [("t1", "lose_worker"), ("t2", "lose_worker")]
    assert events(effects) == [Event.WORKER_LOST]
    assert stimuli.Demonitor(WorkerId("a")) not in effects


def test_a_worker_of_another_tree_is_judged_by_silence_alone() -> None:
    bench = Bench(tree="T")
    effects = bench.say("a", hello("a", tree="U", path="root/workers/worker-0"))
    assert not [effect for effect in effects if isinstance(effect, stimuli.Monitor)]
    bench.give(1, to="a")
    assert bench.core.next_deadline() == pytest.approx(bench.now + WINDOW_S)

    assert not moves(bench.until(bench.now + WINDOW_S - 0.01))
    assert moves(bench.until(100.0 + WINDOW_S)) == [("t1", "lose_worker")]


def test_a_beat_is_answered_and_keeps_a_worker() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, to="a")
    bench.now += 2.9

    assert sent(bench.say("a", wire.Beat([0])), wire.Reflect)

    assert not moves(bench.until(bench.now + 2.9))


def test_a_dispatcher_that_was_suspended_judges_nobody_for_it() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, to="a")
    bench.now += 60.0

    assert not moves(bench.feed(stimuli.Suspended(), stimuli.Tick()))

    assert moves(bench.until(bench.now + WINDOW_S)) == [("t1", "lose_worker")]


def test_a_lost_worker_that_speaks_again_is_asked_who_it_is_and_told_to_drop_what_it_holds() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, to="a")
    bench.until(bench.now + WINDOW_S)

    assert sent(bench.say("a", wire.Beat([0])), wire.WhoAreYou)
    effects = bench.say("a", hello("a", held=[lease(1)]))

    assert sent(effects, wire.Drop) == [("a", wire.Drop([lease(1)]))]
    assert sent(effects, wire.Welcome)


def test_an_outcome_that_comes_while_the_loss_is_unwritten_takes_its_place() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.say("b", hello("b"))
    bench.feed(stimuli.ClaimAnswered([claimed(1, "a"), claimed(2, "b")], 0))
    bench.say("b", wire.Done([outcome(2)]))
    bench.feed(stimuli.WorkerDown(WorkerId("a"), "signal:SIGKILL"))

    bench.say("a", wire.Done([outcome(1)]))

    assert moves(bench.settled()) == [("t1", "succeed")]


def test_the_successor_of_a_worker_takes_its_place_without_waiting_for_silence() -> None:
    bench = Bench(tree="T")
    bench.say("a1", hello("a1", tree="T", path="root/workers/worker-0"))
    bench.give(1, to="a1")

    effects = bench.say("a2", hello("a2", tree="T", path="root/workers/worker-0"))

    assert moves(effects) == [("t1", "lose_worker")]
    assert stimuli.Demonitor(WorkerId("a1")) in effects


def test_a_leaving_worker_gets_nothing_more_and_is_forgotten_when_it_goes() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, to="a", left=1)
    bench.give(to="a", left=1)
    assert not claims(bench.say("a", wire.Leaving()))

    effects = bench.say("a", wire.Done([outcome(1)]), wire.Leaving(is_final=True))

    assert moves(effects) == [("t1", "succeed")]
    assert events(effects) == [Event.WORKER_LEFT]
    assert bench.core.leases.seats.get(WorkerId("a")) is None


def test_a_worker_with_another_protocol_is_refused_with_the_fix() -> None:
    bench = Bench()

    effects = bench.say("a", wire.Hello(99, WorkerId("a"), "a", "host", 1, Mode.PUSH, 2, "3.11", "0.4"))

    [(_, refused)] = sent(effects, wire.Refused)
    assert "same version of regrow" in refused.reason
    assert not claims(effects)


def test_a_worker_with_another_python_works_under_a_warning() -> None:
    bench = Bench()

    effects = bench.say("a", wire.Hello(wire.PROTOCOL, WorkerId("a"), "a", "host", 1, Mode.PUSH, 2, "3.12.1", "0.4"))

    [report] = [effect for effect in effects if isinstance(effect, stimuli.Report)]
    assert report.is_warning
    assert report.fields["expected_python"] == "3.11"
    assert sent(effects, wire.Welcome)


def test_tasks_that_could_not_be_delivered_go_back_and_that_worker_gets_nothing_until_it_speaks() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.say("b", hello("b"))
    [(_, run)] = sent(bench.give(1, to="a", left=1), wire.Run)
    bench.give(to="a")

    effects = bench.feed(stimuli.Undelivered(WorkerId("a"), run))

    assert moves(effects) == [("t1", "give_back")]
    bench.settled(Verdict.REQUEUED)
    assert [share.worker for share in claims(bench.effects)[-1].shares] == ["b"]
    bench.give(to="b")
    bench.say("a", wire.Beat([]))
    bench.feed(stimuli.Woken())
    assert {share.worker for share in claims(bench.effects)[-1].shares} == {"a", "b"}


def test_what_a_reconnected_worker_did_not_get_is_sent_again() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, 2, to="a")

    effects = bench.say("a", hello("a", held=[lease(1)]))

    assert ran(effects) == [("a", "t2")]
    assert not moves(effects)


def test_a_task_sent_twice_and_given_back_once_counts_as_lost_and_is_dropped() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, to="a")
    bench.say("a", hello("a"))

    effects = bench.say("a", wire.GaveBack([lease(1)]))

    assert moves(effects) == [("t1", "lose_worker")]
    assert sent(effects, wire.Drop) == [("a", wire.Drop([lease(1)]))]


# Code


def test_a_function_is_read_once_for_all_who_ask_meanwhile() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.say("b", hello("b"))

    assert stimuli.FetchCode([F]) in bench.say("a", wire.NeedCode([F]))
    assert stimuli.FetchCode([F]) not in bench.say("b", wire.NeedCode([F]))

    assert sent(bench.feed(stimuli.CodeFetched({F: b"code"})), wire.Code) == [
        ("a", wire.Code({F: b"code"})),
        ("b", wire.Code({F: b"code"})),
    ]


# Recall


def with_work_ahead() -> Bench:
    """Worker a has one task at work and two behind it; worker b is idle; the queue is empty."""
    bench = Bench()
    bench.say("a", hello("a", slots=1))
    bench.give(1, 2, 3, to="a")
    bench.say("b", hello("b", slots=1))
    return bench


def test_work_that_waits_behind_a_busy_slot_is_called_back_for_an_idle_one() -> None:
    bench = with_work_ahead()
    assert bench.core.next_deadline() == pytest.approx(100.020)
    assert not sent(bench.until(100.019), wire.Recall)

    assert sent(bench.until(100.020), wire.Recall) == [("a", wire.Recall(1))]
    assert not sent(bench.until(100.5), wire.Recall)

    assert moves(bench.say("a", wire.GaveBack([lease(3)]))) == [("t3", "give_back")]
    [claim] = claims(bench.settled(Verdict.REQUEUED))
    assert [(share.worker, share.free) for share in claim.shares] == [("b", 1)]
    assert ran(bench.feed(stimuli.ClaimAnswered([claimed(3, "b", attempt=2)], 0))) == [("b", "t3")]


def test_nothing_is_called_back_while_the_queue_can_fill_the_idle_slot() -> None:
    bench = with_work_ahead()
    bench.feed(stimuli.Woken())

    assert not sent(bench.until(100.5), wire.Recall)

    assert sent(bench.give(to="b"), wire.Recall)


def test_nothing_is_called_back_when_nobody_is_idle() -> None:
    bench = Bench()
    bench.say("a", hello("a", slots=1))
    bench.give(1, 2, 3, to="a")

    assert not sent(bench.until(101.0), wire.Recall)


# The dispatcher was restarted


def test_before_the_store_has_answered_nobody_is_welcomed_but_beats_are_answered() -> None:
    bench = Bench(ready=False)

    assert not sent(bench.say("a", hello("a", held=[lease(1)])), wire.Welcome)
    assert sent(bench.say("a", wire.Beat([0])), wire.Reflect)
    assert not moves(bench.say("a", wire.Done([outcome(1)])))

    effects = bench.feed(stimuli.StoreBack([held(1, "a")]))
    assert sent(effects, wire.Welcome)
    assert not sent(effects, wire.Drop)
    assert moves(effects) == [("t1", "succeed")]


@pytest.mark.parametrize("is_durable", [True, False])
def test_a_store_that_forgets_is_worth_a_warning(is_durable: bool) -> None:
    effects = Bench(ready=False).feed(stimuli.StoreBack([], "its promise", is_durable))

    [report] = [effect for effect in effects if isinstance(effect, stimuli.Report)]
    assert (report.event, report.is_warning) == (Event.STORE_READY, not is_durable)


def test_a_new_incarnation_adopts_what_workers_hold_and_does_not_run_it_again() -> None:
    bench = Bench(held=[held(1, "a"), held(2, "a")])

    effects = bench.say("a", hello("a", held=[lease(1)], done=[lease(2)]))

    assert not ran(effects)
    assert not sent(effects, wire.Drop)
    assert not moves(bench.until(100.0 + WINDOW_S - 0.01))
    assert moves(bench.say("a", wire.Done([outcome(1), outcome(2)]))) == [("t1", "succeed"), ("t2", "succeed")]


def test_a_lease_under_another_attempt_is_not_adopted() -> None:
    bench = Bench(held=[held(1, "a", attempt=2)])

    effects = bench.say("a", hello("a", held=[lease(1, attempt=1)]))

    assert sent(effects, wire.Drop) == [("a", wire.Drop([lease(1, attempt=1)]))]


def test_what_nobody_presents_is_given_back_if_its_worker_came_and_lost_if_it_did_not() -> None:
    bench = Bench(held=[held(1, "a"), held(2, "gone")])
    bench.say("a", hello("a"))
    bench.now += 2.0
    bench.say("a", wire.Beat([]))

    effects = bench.until(100.0 + WINDOW_S)

    assert moves(effects) == [("t1", "give_back"), ("t2", "lose_worker")]


# The store was away


def test_a_lease_that_only_the_store_knows_is_lost() -> None:
    bench = Bench()
    bench.say("a", hello("a"))

    effects = bench.feed(stimuli.ClaimAnswered([], 0), stimuli.StoreBack([held(1, "a")]))

    assert moves(effects) == [("t1", "lose_worker")]


def test_a_lease_that_the_store_no_longer_has_is_dropped() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, 2, to="a")

    effects = bench.feed(stimuli.StoreBack([held(1, "a")]))

    assert sent(effects, wire.Drop) == [("a", wire.Drop([lease(2)]))]
    assert [key for key, place in bench.core.leases.where() if place == "a"] == [("t1", 1)]


def test_an_ending_that_is_still_owed_is_not_mistaken_for_an_unknown_lease() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, to="a")
    bench.say("a", wire.Done([outcome(1)]))

    effects = bench.feed(stimuli.StoreBack([held(1, "a")]))

    assert not moves(effects)
    assert not moves(bench.settled())


def test_the_leases_of_a_silent_dispatcher_are_inherited_once_and_lost_at_once() -> None:
    bench = Bench()
    effects = bench.feed(stimuli.Pulsed(0, ["other"]), stimuli.Pulsed(0, ["other"]))
    assert effects.count(stimuli.Inherit("other")) == 1

    assert moves(bench.feed(stimuli.Inherited("other", [held(1, "x")]))) == [("t1", "lose_worker")]


# Draining


def test_a_stopping_dispatcher_calls_back_unstarted_work_waits_for_the_rest_and_is_done() -> None:
    bench = with_work_ahead()
    effects = bench.feed(stimuli.Stop(10.0))
    assert sent(effects, wire.Recall) == [("a", wire.Recall(2))]

    assert moves(bench.say("a", wire.GaveBack([lease(2), lease(3)]))) == [("t2", "give_back"), ("t3", "give_back")]
    bench.settled(Verdict.REQUEUED)
    bench.say("a", wire.Done([outcome(1)]))
    assert stimuli.Finished(is_clean=True) not in bench.effects

    assert stimuli.Finished(is_clean=True) in bench.settled()


def test_a_stopping_dispatcher_hands_out_nothing_of_a_claim_that_comes_late() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    assert stimuli.Finished(is_clean=True) not in bench.feed(stimuli.Stop(10.0))

    effects = bench.give(1, to="a", left=5)

    assert not ran(effects)
    assert moves(effects) == [("t1", "give_back")]
    assert stimuli.Finished(is_clean=True) in bench.settled(Verdict.REQUEUED)


def test_work_that_runs_beyond_the_drain_stays_leased() -> None:
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, to="a")
    bench.feed(stimuli.Stop(2.0))

    effects = bench.until(102.0)

    assert stimuli.Finished(is_clean=False) in effects
    assert not moves(effects)


def test_who_has_finished_waits_for_no_deadline_that_has_passed() -> None:
    """Its shell would go round and round until the store has taken note of its leave."""
    bench = Bench()
    bench.say("a", hello("a"))
    bench.give(1, to="a")
    bench.feed(stimuli.Stop(2.0))
    assert bench.core.next_deadline() == 102.0

    bench.until(102.0)

    deadline = bench.core.next_deadline()
    assert deadline is not None
    assert deadline > 102.0
