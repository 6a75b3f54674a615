"""A message that was lost on its way, whatever it was, is missed with the next beat, and made good by a new Hello."""

from zlib import crc32

from regrow.actors import stimuli, wire
from regrow.actors.events import Event
from regrow.actors.talk import Talk
from regrow.actors.task import FailureKind, Move, Outcome, TaskId
from support.dispatching import Bench, held, hello, lease, moves, outcome, ran, sent


def counted(bench: Bench, *messages: wire.FromWorker) -> None:
    """A worker that counts says hello, and these."""
    bench.say("a", hello("a", said=1), *messages)


def test_a_beat_that_counts_what_was_heard_is_answered_with_the_counts() -> None:
    bench = Bench()
    counted(bench, wire.NeedCode([]))

    effects = bench.say("a", wire.Beat(0, 2))

    assert sent(effects, wire.Reflect) == [("a", wire.Reflect(1, 2))]
    assert not sent(effects, wire.WhoAreYou)


def test_a_beat_that_counts_more_than_was_heard_is_answered_with_a_question() -> None:
    bench = Bench()
    counted(bench)

    effects = bench.say("a", wire.Beat(0, 2))

    assert sent(effects, wire.WhoAreYou)
    assert [it.event for it in effects if isinstance(it, stimuli.Report)] == [Event.WORDS_LOST]


def test_a_worker_that_does_not_count_is_not_doubted() -> None:
    bench = Bench()
    bench.say("a", hello("a"), wire.NeedCode([]))

    assert not sent(bench.say("a", wire.Beat(0)), wire.WhoAreYou)


def test_a_run_that_was_lost_is_sent_again_under_the_same_attempt() -> None:
    bench = Bench()
    counted(bench)
    bench.give(1, to="a")
    (reflect,) = [message for _, message in sent(bench.say("a", wire.Beat(0, 1)), wire.Reflect)]
    worker = Talk(said=1)
    worker.hears(wire.Welcome("d", 1.0, 3.0), is_welcome=False)

    is_missed = worker.hears(reflect, is_welcome=True)
    effects = bench.say("a", hello("a", said=2))

    assert is_missed
    assert ran(effects) == [("a", "t1")]


def test_a_run_that_was_lost_is_sent_again_once_though_two_hellos_come_in_one_round() -> None:
    """Two beats that come together are both doubted, and each question is answered."""
    bench = Bench()
    counted(bench)
    bench.give(1, to="a")

    effects = bench.say("a", hello("a", said=2), hello("a", said=3))

    assert ran(effects) == [("a", "t1")]


def test_leases_are_read_afresh_when_the_store_counts_others_three_times_in_a_row() -> None:
    """A call of the former incarnation came late, say, and took a task that nobody here knows of."""
    bench = Bench()
    odd = stimuli.Pulsed(0, [], leases=1)

    patient = [*bench.feed(odd), *bench.feed(odd), *bench.feed(stimuli.Pulsed(0, [], leases=0))]
    impatient = [*bench.feed(odd), *bench.feed(odd), *bench.feed(odd)]
    healed = bench.feed(stimuli.LeasesRead([held(1, "gone")]))

    assert stimuli.ReadLeases() not in patient
    assert impatient.count(stimuli.ReadLeases()) == 1
    assert moves(healed) == [("t1", "lose_worker")]


def test_a_dispatcher_that_was_suspended_reads_what_is_still_its_own() -> None:
    """Another one may have inherited its leases meanwhile; the workers are told to stop what is not theirs any more."""
    bench = Bench()
    counted(bench)
    bench.give(1, to="a")

    effects = bench.feed(stimuli.Suspended())
    told = bench.feed(stimuli.LeasesRead([]))

    assert stimuli.ReadLeases() in effects
    assert sent(told, wire.Drop) == [("a", wire.Drop([lease(1)]))]


def test_an_outcome_that_was_lost_is_asked_for_and_its_task_not_run_again() -> None:
    bench = Bench()
    counted(bench)
    bench.give(1, to="a")

    question = bench.say("a", wire.Beat(0, 2))  # its Done was lost
    again = bench.say("a", hello("a", said=3, done=[lease(1)]), wire.Done([outcome(1)]))

    assert sent(question, wire.WhoAreYou)
    assert not ran(again)
    assert [it.settlements[0].move for it in again if isinstance(it, stimuli.Settle)] == [Move.SUCCEED]


def test_a_worker_whose_welcome_was_lost_says_hello_again_but_not_for_an_answer_older_than_its_hello() -> None:
    talk = Talk(said=7)

    assert not talk.hears(wire.Reflect(4, 6), is_welcome=False)
    assert talk.hears(wire.Reflect(1, 7), is_welcome=False)
    assert not talk.hears(wire.Reflect(), is_welcome=False), "a dispatcher that welcomes nobody yet"


def test_a_value_that_is_not_the_one_that_its_slot_returned_is_not_stored() -> None:
    bench = Bench()
    counted(bench)
    bench.give(1, 2, to="a")
    whole = Outcome(TaskId("t1"), 1, b"value", checksum=crc32(b"value"))
    hurt = Outcome(TaskId("t2"), 1, b"walue", checksum=crc32(b"value"))

    effects = bench.say("a", wire.Done([whole, hurt]))

    (settle,) = [it for it in effects if isinstance(it, stimuli.Settle)]
    good, bad = settle.settlements
    assert (good.move, good.outcome) == (Move.SUCCEED, whole)
    assert bad.move is Move.FAIL
    assert bad.outcome is not None
    assert bad.outcome.value is None
    assert bad.outcome.failure is not None
    assert bad.outcome.failure.kind is FailureKind.CORRUPT_PAYLOAD
