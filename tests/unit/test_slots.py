"""The core of a worker: by examples, and by random schedules against a model of slots that may die at any moment."""

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from regrow.actors.cache import CodeCache
from regrow.actors.effects import Death, Deliver, Effect, Feed, GiveBack, GiveUp, Kill, Measure, NeedCode, Spawn, Steal
from regrow.actors.judge import Judge, Usage
from regrow.actors.kept import KEPT_BYTES
from regrow.actors.limits import Limits
from regrow.actors.outbox import Outbox
from regrow.actors.output import (
    HEAD_KEPT_BYTES,
    LINE_BYTES,
    MARK_BYTES,
    NOTHING_PRINTED,
    TAIL_KEPT_BYTES,
    Dropped,
    Output,
    Printed,
    mark,
)
from regrow.actors.packets import Answer, CodeMissing, Ended
from regrow.actors.slot import AHEAD_PARAMS_BYTES, AHEAD_TASKS, FAILED_STARTS
from regrow.actors.slots import Slots
from regrow.actors.task import Digest, Failure, FailureKind, Outcome, TaskId
from regrow.actors.wire import BATCH_BYTES, BATCH_TASKS, Lease, TaskToRun

CODE = Digest("code")
VALUE = Ended(b"value", None, 0.001)


def task(
    name: str,
    expected_s: float | None = None,
    digest: str = CODE,
    params: bytes = b"p",
    limits: Limits | None = None,
    deadline_s: float | None = None,
) -> TaskToRun:
    return TaskToRun(TaskId(name), 1, Digest(digest), params, expected_s, None, limits, deadline_s)


def tasks(count: int, expected_s: float | None = None) -> list[TaskToRun]:
    return [task(f"t{number}", expected_s) for number in range(count)]


def up(count: int) -> Slots:
    """A core with this many ready slots, which knows one function."""
    slots = Slots(count)
    assert slots.start() == [Spawn(number, 0.0) for number in range(count)]
    slots.learn({CODE: b"function"})
    for number in range(count):
        assert slots.ready(number) == []
    return slots


def feeds(effects: list[Effect]) -> list[tuple[int, int]]:
    """(slot, turn) of what is fed."""
    return [(effect.slot, effect.number) for effect in effects if isinstance(effect, Feed)]


def of(kind: type, effects: list[Effect]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


def test_a_task_whose_time_is_unknown_never_waits_behind_another_in_a_slot() -> None:
    slots = up(2)

    effects = slots.accept(tasks(5))

    assert sorted(slot for slot, _ in feeds(effects)) == [0, 1]
    assert slots.busy() == [0, 1]
    [(first, turn), _] = feeds(effects)
    assert [slot for slot, _ in feeds(slots.ended(first, [(turn, VALUE)]))] == [first]
    slots.check()


def test_quick_tasks_are_fed_ahead_and_evenly_up_to_ten_milliseconds() -> None:
    slots = up(2)

    effects = slots.accept(tasks(100, expected_s=0.0009))

    assert [[slot for slot, _ in feeds(effects)].count(number) for number in (0, 1)] == [11, 11]


def test_very_quick_tasks_are_bounded_by_number() -> None:
    slots = up(1)

    assert len(feeds(slots.accept(tasks(200, expected_s=0.0)))) == AHEAD_TASKS


def test_large_calls_are_fed_one_at_a_time() -> None:
    slots = up(1)
    large = [task(f"t{number}", 0.0, params=b"p" * (AHEAD_PARAMS_BYTES + 1)) for number in range(3)]

    assert len(feeds(slots.accept(large))) == 1


def test_nothing_is_fed_behind_a_task_of_unknown_time() -> None:
    slots = up(1)

    assert len(feeds(slots.accept([task("unknown"), task("quick", 0.0)]))) == 1


def test_a_function_is_asked_for_once_and_its_tasks_wait_apart() -> None:
    slots = up(1)

    first = slots.accept([task("a", digest="new"), task("b", digest="new")])
    second = slots.accept([task("c", digest="new"), task("d")])

    assert first == [NeedCode([Digest("new")])]
    assert len(feeds(second)) == 1
    assert not of(NeedCode, second)
    slots.check()


def test_a_function_is_sent_to_a_slot_once_and_again_after_a_steal() -> None:
    slots = up(1)
    effects = slots.accept(tasks(3, expected_s=0.001))
    assert [feed.code for feed in of(Feed, effects)] == [b"function", None, None]

    again = slots.stolen(0, [2, 3], [])

    assert [feed.code for feed in of(Feed, again)] == [b"function", None]


def test_a_call_that_was_read_after_its_function_was_stolen_is_fed_again_and_costs_nothing() -> None:
    slots = up(1)
    slots.accept(tasks(3, expected_s=0.001))
    slots.recall(0)

    spread = slots.stolen(0, [1, 3], [])  # the first and the last; the slot had just read the one between
    again = slots.ended(0, [(2, CodeMissing())])

    assert [(feed.number, feed.code) for feed in of(Feed, spread)] == [(4, b"function"), (5, None)]
    assert [(feed.number, feed.code) for feed in of(Feed, again)] == [(6, b"function")]
    assert not of(Deliver, again)
    slots.check()
    assert len(of(Deliver, slots.ended(0, [(4, VALUE), (5, VALUE), (6, VALUE)]))) == 3


def test_nothing_is_started_while_too_much_waits_to_be_acknowledged() -> None:
    slots = up(2)
    slots.accept(tasks(4))
    large = Ended(b"v" * KEPT_BYTES, None, 0.001)

    assert not feeds(slots.ended(0, [(1, large)]))
    assert not feeds(slots.ended(1, [(2, VALUE)]))
    slots.check()
    assert not slots.acknowledge([Lease(TaskId("t1"), 1)])

    assert len(feeds(slots.acknowledge([Lease(TaskId("t0"), 1)]))) == 2
    slots.check()


OOM = Failure(FailureKind.OOM, "MemoryPressure", "no memory")


def test_a_shed_task_dies_with_its_slot_as_a_victim_and_what_waited_behind_it_runs_on() -> None:
    slots = up(1)
    slots.accept(tasks(3, expected_s=0.001))

    assert slots.shed(Lease(TaskId("t0"), 1), OOM) == [Steal(0)]
    assert Kill(0) in slots.stolen(0, [2, 3], [])
    effects = slots.exited(0, [], [], Death("signal:SIGKILL"))

    [delivered] = of(Deliver, effects)
    assert delivered.outcome == Outcome(TaskId("t0"), 1, failure=OOM, is_victim=True)
    slots.check()
    assert [slot for slot, _ in feeds(slots.ready(0))] == [0, 0]


def test_a_task_that_has_ended_or_not_started_when_it_is_to_be_shed_costs_no_slot() -> None:
    slots = up(1)
    slots.accept(tasks(2, expected_s=0.001))

    assert not slots.shed(Lease(TaskId("t1"), 1), OOM), "it is not running"
    assert not slots.shed(Lease(TaskId("t0"), 2), OOM), "another attempt is"
    assert slots.shed(Lease(TaskId("t0"), 1), OOM)
    effects = slots.stolen(0, [], [(1, VALUE)])

    assert not of(Kill, effects)
    [delivered] = of(Deliver, effects)
    assert delivered.outcome.value == b"value"
    slots.check()


def test_a_shed_task_that_its_slot_had_not_read_yet_is_fed_again() -> None:
    slots = up(1)
    slots.accept(tasks(1))
    slots.shed(Lease(TaskId("t0"), 1), OOM)

    effects = slots.stolen(0, [1], [])

    assert not of(Kill, effects)
    assert feeds(effects) == [(0, 2)]


def test_a_call_that_was_not_run_for_want_of_its_function_can_be_given_back() -> None:
    slots = up(1)
    slots.accept(tasks(2, expected_s=0.001))

    slots.drain()
    effects = slots.stolen(0, [1], [(2, CodeMissing())])

    assert [lease.task_id for lease in of(GiveBack, effects)[0].leases] == ["t1", "t0"]


def test_a_dropped_call_is_not_fed_again_for_want_of_its_function() -> None:
    slots = up(1)
    slots.accept(tasks(2, expected_s=0.001))
    slots.drop([Lease(TaskId("t1"), 1)])

    assert of(Feed, slots.stolen(0, [1], [(2, CodeMissing())])) == [Feed(0, 3, CODE, b"p", b"function")]
    slots.check()


def test_a_slot_that_misses_a_function_that_came_with_the_call_is_condemned() -> None:
    slots = up(1)
    slots.accept(tasks(1))

    assert slots.ended(0, [(1, CodeMissing())]) == [Kill(0)]
    effects = slots.exited(0, [], [], Death("signal:SIGKILL"))

    assert "missed a function that had come with its call" in of(Deliver, effects)[0].outcome.failure.message


def test_a_function_that_the_store_has_no_more_ends_its_tasks() -> None:
    slots = up(1)
    slots.accept([task("a", digest="gone")])

    [delivered] = slots.learn({Digest("gone"): None})

    assert isinstance(delivered, Deliver)
    assert delivered.outcome.failure is not None
    assert delivered.outcome.failure.kind is FailureKind.UNLOADABLE


def test_an_idle_slot_steals_from_the_one_with_unread_tasks() -> None:
    slots = up(2)
    fed = feeds(slots.accept(tasks(4, expected_s=0.001)))
    mine = [turn for slot, turn in fed if slot == 0]
    theirs = [turn for slot, turn in fed if slot == 1]

    stealing = slots.ended(0, [(turn, VALUE) for turn in mine])
    assert of(Steal, stealing) == [Steal(1)]
    spread = slots.stolen(1, theirs[1:], [])

    assert [slot for slot, _ in feeds(spread)] == [0]
    slots.check()


def test_a_steal_that_finds_nothing_is_not_repeated_until_something_happens() -> None:
    slots = up(2)
    fed = feeds(slots.accept(tasks(4, expected_s=0.001)))
    slots.ended(0, [(turn, VALUE) for slot, turn in fed if slot == 0])

    assert slots.stolen(1, [], []) == []
    slots.check()


def test_recall_gives_back_the_newest_unstarted_tasks() -> None:
    slots = up(1)
    slots.accept(tasks(4))

    [given] = slots.recall(2)

    assert given == GiveBack([Lease(TaskId("t3"), 1), Lease(TaskId("t2"), 1)])
    assert len(slots.held) == 2


def test_recall_steals_when_what_waits_is_not_enough() -> None:
    slots = up(1)
    slots.accept(tasks(5, expected_s=0.001))

    assert slots.recall(10) == [Steal(0)]
    effects = slots.stolen(0, [2, 3, 4, 5], [])

    assert [lease.task_id for lease in of(GiveBack, effects)[0].leases] == ["t4", "t3", "t2", "t1"]
    assert list(slots.held) == [("t0", 1)]
    slots.check()


def test_draining_gives_back_what_has_not_started_and_takes_nothing_new() -> None:
    slots = up(1)
    slots.accept(tasks(3))

    [given] = slots.drain()
    [refused] = slots.accept([task("late")])

    assert len(given.leases) == 2  # type: ignore[union-attr]
    assert refused == GiveBack([Lease(TaskId("late"), 1)])
    assert slots.capacity() == 0
    assert not slots.is_empty()
    slots.ended(0, [(1, VALUE)])
    slots.acknowledge([Lease(TaskId("t0"), 1)])
    assert slots.is_empty()


def test_a_death_costs_one_task_an_attempt_and_the_unread_ones_run_elsewhere() -> None:
    slots = up(2)
    fed = feeds(slots.accept(tasks(6, expected_s=0.001)))
    turns = [turn for slot, turn in fed if slot == 0]

    effects = slots.exited(0, turns[2:], [(turns[0], VALUE)], Death("signal:SIGSEGV", "last words"))

    outcomes = [deliver.outcome for deliver in of(Deliver, effects)]
    assert [outcome.failure is None for outcome in outcomes] == [True, False]
    crash = outcomes[1].failure
    assert (crash.kind, crash.type, crash.traceback) == (FailureKind.CRASHED, "signal:SIGSEGV", "last words")
    assert crash.message == "the slot process died while it ran this task"
    assert of(Spawn, effects) == [Spawn(0, 0.0)]
    assert [slot for slot, _ in feeds(effects)] == [1]
    slots.check()


def test_an_answer_out_of_turn_condemns_the_slot_and_says_so() -> None:
    slots = up(1)
    slots.accept(tasks(1))

    assert slots.ended(0, [(99, VALUE)]) == [Kill(0)]
    effects = slots.exited(0, [], [], Death("signal:SIGKILL"))

    assert "answered a call that it was not at" in of(Deliver, effects)[0].outcome.failure.message


def test_a_dropped_task_is_forgotten_wherever_it_is() -> None:
    slots = up(1)
    slots.accept([*tasks(3), task("parked", digest="new")])
    slots.ended(0, [(1, VALUE)])  # t0 has an outcome, t1 runs, t2 waits

    effects = slots.drop([Lease(TaskId(name), 1) for name in ("t0", "t1", "t2", "parked", "unknown")])
    killing = slots.stolen(0, [], [])
    after = slots.exited(0, [], [], Death("signal:SIGKILL"))

    assert (effects, killing) == ([Steal(0)], [Kill(0)])
    assert not of(Deliver, after)
    assert slots.is_empty()


def test_a_dropped_task_that_its_slot_has_not_read_costs_no_slot() -> None:
    slots = up(1)
    slots.accept(tasks(2, expected_s=0.001))
    slots.drop([Lease(TaskId("t1"), 1)])

    assert slots.stolen(0, [2], []) == []
    slots.check()


def test_what_is_abandoned_is_killed_where_it_was_fed_and_forgotten_everywhere() -> None:
    slots = up(3)
    slots.learn({Digest("other"): b"other"})
    effects = slots.accept([task("done"), task("runs"), task("unread", 0.0)])
    slots.accept([task("waits"), task("parked", digest="new")])
    [(done, turn), *_] = feeds(effects)
    slots.ended(done, [(turn, VALUE)])
    busy = [number for number, slot in enumerate(slots.slots) if slot.fed]

    effects = slots.abandon()

    assert effects == [Kill(number) for number in busy]
    assert slots.is_empty()
    assert slots.resume() == [], "nothing is told or asked for it"
    slots.check()


def test_an_abandoned_task_is_no_crash_whether_its_slot_was_killed_first_or_answered_first() -> None:
    slots = up(2)
    [(killed, _), (answered, turn)] = feeds(slots.accept(tasks(2)))

    slots.abandon()

    assert not of(Deliver, slots.ended(answered, [(turn, VALUE)]))
    for number in (killed, answered):
        assert slots.exited(number, [], [], Death("signal:SIGKILL")) == [Spawn(number, 0.0)]
        slots.ready(number)
    assert len(feeds(slots.accept(tasks(2)))) == 2, "and both slots work again, even for the same tasks"
    slots.check()


def test_a_worker_that_abandons_while_it_drains_may_go() -> None:
    slots = up(1)
    slots.accept(tasks(2))
    slots.drain()

    slots.abandon()

    assert slots.is_empty()
    assert slots.exited(0, [], [], Death("signal:SIGKILL")) == []


def test_outcomes_are_kept_until_acknowledged_and_repeated_on_demand() -> None:
    slots = up(1)
    slots.accept(tasks(1))
    [first] = slots.ended(0, [(1, VALUE)])

    assert slots.accept(tasks(1)) == [first]
    assert slots.resume() == [first]
    slots.acknowledge([Lease(TaskId("t0"), 1)])
    assert slots.resume() == []


def test_a_task_sent_twice_runs_once() -> None:
    slots = up(2)
    slots.accept(tasks(1))

    assert slots.accept(tasks(1)) == []


def test_a_task_that_one_message_names_twice_runs_once() -> None:
    slots = up(2)

    fed = [effect for effect in slots.accept(tasks(1) + tasks(1)) if isinstance(effect, Feed)]

    assert len(fed) == 1
    slots.check()


def test_after_a_reconnect_functions_are_asked_for_again() -> None:
    slots = up(1)
    slots.accept([task("a", digest="new")])

    assert slots.resume() == [NeedCode([Digest("new")])]


def test_slots_that_never_start_make_the_worker_give_up_with_their_last_words() -> None:
    slots = Slots(2)
    slots.start()

    effects = [slots.exited(number % 2, [], [], Death("exit:1", "ImportError: x")) for number in range(FAILED_STARTS)]

    assert [of(Spawn, effect)[0].delay_s for effect in effects[:-1]] == [0.05, 0.1, 0.2, 0.4, 0.8]
    [give_up] = of(GiveUp, effects[-1])
    assert "ImportError: x" in give_up.note


def test_a_worker_whose_slots_once_worked_never_gives_up() -> None:
    slots = up(1)

    for _ in range(3 * FAILED_STARTS):
        [spawn] = slots.exited(0, [], [], Death("exit:1"))

    assert spawn == Spawn(0, 5.0)


def test_a_slot_that_says_ready_twice_is_condemned() -> None:
    assert up(1).ready(0) == [Kill(0)]


def test_the_cache_forgets_the_least_recently_used_and_keeps_the_newest() -> None:
    cache = CodeCache(10)
    for name in "abc":
        cache.put(Digest(name), b"1234")
        cache.get(Digest("a"))

    assert [name in cache for name in map(Digest, "abc")] == [True, False, True]
    cache.put(Digest("large"), b"x" * 50)
    assert (Digest("a") in cache, Digest("large") in cache, cache.used_bytes) == (False, True, 50)


def test_outcomes_are_sent_in_messages_of_bounded_size_and_forgotten_ones_not_at_all() -> None:
    box = Outbox()
    large = [Outcome(TaskId(f"l{number}"), 1, b"x" * (BATCH_BYTES // 2)) for number in range(3)]
    small = [Outcome(TaskId(f"s{number}"), 1, b"") for number in range(BATCH_TASKS + 1)]
    kept = {(outcome.task_id, outcome.attempt): outcome for outcome in [*large[:2], large[2], *small]}
    for outcome in [*large, *small]:
        box.put(outcome)
    del kept[TaskId("s0"), 1]

    first = box.batch(kept)
    box.put_back(first)

    assert first == large[:2]
    assert box.batch(kept) == large[:2]
    assert box.batch(kept) == [large[2], *small[1:BATCH_TASKS]]
    assert box.batch(kept) == [small[BATCH_TASKS]]
    assert box.batch(kept) == []


def test_output_is_cut_into_lines_of_bounded_length_and_the_tail_is_kept() -> None:
    output = Output()

    assert output.feed(b"one\ntw", now=0.0) == ["one"]
    assert output.feed(b"o\n", now=0.0) == ["two"]
    assert [len(line) for line in output.feed(b"x" * (LINE_BYTES + 1), now=0.0)] == [LINE_BYTES]
    assert output.tail().endswith("x")


def test_output_is_bounded_per_second_and_counts_what_it_drops() -> None:
    output = Output()

    assert len(output.feed(b"line\n" * 300, now=1.0)) == 200
    assert output.take_dropped() == Dropped(lines=100, size_bytes=500)
    assert output.feed(b"line\n", now=2.0) == ["line"]
    assert output.take_dropped() == Dropped()


def test_the_tail_is_what_was_printed_since_the_last_answered_turn() -> None:
    output = Output()

    output.feed(b"of the first\n", now=0.0)
    output.end_turn(1)

    assert output.tail() == ""
    output.feed(b"of the second\n", now=0.0)
    assert output.tail() == "of the second"


def test_output_that_is_read_after_its_turns_answer_is_told_apart_by_the_mark() -> None:
    output = Output()

    output.end_turn(1)
    lines = output.feed(b"late\n" + mark(1) + b"of the second\n", now=0.0)

    assert lines == ["late", "of the second"]
    assert output.tail() == "of the second"


def test_output_that_is_read_before_the_last_turns_answer_is_kept_behind_its_mark() -> None:
    output = Output()

    output.feed(b"of the first\n" + mark(1) + b"of the second\n", now=0.0)
    output.end_turn(1)

    assert output.tail() == "of the second"


def test_each_turn_gets_what_it_printed_whether_it_was_read_before_its_answer_or_behind_a_mark() -> None:
    output = Output()

    output.feed(b"of the first", now=0.0)
    first = output.end_turn(1)
    output.feed(b"of the second" + mark(2) + mark(3) + b"of the fourth" + mark(4) + b"of the fi", now=0.0)
    others = [output.end_turn(turn) for turn in (2, 3, 4)]
    output.feed(b"fth", now=0.0)

    assert first == Printed(b"of the first", 12)
    assert others == [Printed(b"of the second", 13), NOTHING_PRINTED, Printed(b"of the fourth", 13)]
    assert output.rest() == Printed(b"of the fifth", 12)


def test_of_a_long_output_the_beginning_and_the_end_are_kept_and_the_rest_is_counted() -> None:
    output = Output()

    for _ in range(100):
        output.feed(b"x" * 999 + b"\n", now=0.0)
    printed = output.end_turn(1)

    assert printed.size_bytes == 100_000
    assert len(printed.kept) < HEAD_KEPT_BYTES + TAIL_KEPT_BYTES + 100
    assert b"[... %d bytes cut ...]" % (100_000 - HEAD_KEPT_BYTES - TAIL_KEPT_BYTES) in printed.kept


def test_a_mark_that_user_code_writes_for_a_turn_to_come_is_not_heeded() -> None:
    output = Output()
    output.latest = 5

    output.feed(b"one" + mark(6) + b"two", now=0.0)

    assert output.end_turn(5) == Printed(b"onetwo", 6)


@pytest.mark.parametrize("cut", range(1, MARK_BYTES))
def test_a_mark_may_come_in_two_parts(cut: int) -> None:
    output = Output()
    whole = b"first\n" + mark(905) + b"second\n"

    lines = output.feed(whole[: 6 + cut], now=0.0) + output.feed(whole[6 + cut :], now=0.0)

    assert (lines, output.tail()) == (["first", "second"], "second")


def test_printed_zero_bytes_are_no_marks() -> None:
    output = Output()

    assert output.feed(b"\0\n\0regrow\n", now=0.0) == ["\0", "\0regrow"]
    output.feed(b"\0", now=0.0)
    assert output.feed(b"\n", now=0.0) == ["\0"]


@dataclass
class ModelSlot:
    """A slot as the kernel would show it: unread calls in a queue, one running, answers in a pipe."""

    is_up: bool = False
    is_ready: bool = False
    unread: deque[int] = field(default_factory=deque)
    running: int | None = None
    answers: list[tuple[int, Answer]] = field(default_factory=list)
    known: set[Digest] = field(default_factory=set)
    carried: dict[int, Digest] = field(default_factory=dict)  # turns whose packets carry a function
    digests: dict[int, Digest] = field(default_factory=dict)

    def read(self) -> None:
        """Take the next call, and run it or answer that its function is missing."""
        turn = self.unread.popleft()
        if turn in self.carried:
            self.known.add(self.carried[turn])
        if self.digests[turn] in self.known:
            self.running = turn
        else:
            self.answers.append((turn, CodeMissing()))

    def forget(self) -> None:
        """Lose every function, as by eviction."""
        self.known.clear()

    def end(self) -> None:
        """Answer the running call."""
        assert self.running is not None
        self.answers.append((self.running, VALUE))
        self.running = None


class Schedules(RuleBasedStateMachine):
    """Random tasks, deaths, steals, recalls, drops and suspensions; every task ends in exactly one way."""

    @initialize(count=st.integers(1, 4), chance=st.randoms(use_true_random=False))
    def begin(self, count: int, chance: Random) -> None:
        self.core = Slots(count)
        self.judge = Judge(self.core, cores=2)
        self.now = 0.0
        self.chance = chance
        self.model = [ModelSlot() for _ in range(count)]
        self.turns: dict[int, str] = {}
        self.asked: list[Digest] = []
        self.ends: dict[str, list[str]] = {}
        self.started: dict[str, int] = {}
        self.names = 0
        self.gave_up = False
        self.carry(self.core.start())

    def carry(self, effects: list[Effect]) -> None:
        todo = list(reversed(effects or self.judge.judge(self.now)))
        while todo:
            todo.extend(reversed(self.carry_one(todo.pop())))
            if not todo:
                todo = list(reversed(self.judge.judge(self.now)))

    def carry_one(self, effect: Effect) -> list[Effect]:
        match effect:
            case Spawn(number, _):
                assert not self.model[number].is_up
                self.model[number] = ModelSlot(is_up=True)
            case Kill(number):
                return self.die(number)
            case Feed(number, turn, digest, params, code):
                slot = self.model[number]
                assert slot.is_ready
                slot.unread.append(turn)
                slot.digests[turn] = digest
                if code is not None:
                    slot.carried[turn] = digest
                self.turns[turn] = params.decode()
                copies = [turn for model in self.model for turn in model.unread if self.turns[turn] == params.decode()]
                assert len(copies) == 1, "a task is in two slots"
            case Steal(number):
                return self.core.stolen(number, self.rob(number), self.take_answers(number))
            case NeedCode(digests):
                self.asked += [digest for digest in digests if digest not in self.asked]
            case Deliver(outcome):
                self.ends[outcome.task_id].append("outcome")
            case GiveBack(leases):
                for lease in leases:
                    assert self.started.get(lease.task_id, 0) == 0, "a started task was given back"
                    self.ends[lease.task_id].append("given back")
            case GiveUp():
                self.gave_up = True
            case Measure(number):
                usage = Usage(self.now * self.chance.random(), processes=self.chance.randrange(3))
                return self.judge.measured(number, usage, self.now)
        return []

    def rob(self, number: int) -> list[int]:
        """Packets are taken one by one, from the front, while the slot may go on reading."""
        slot, stolen = self.model[number], []
        while slot.unread:
            if slot.running is None and slot.is_ready and self.chance.random() < 0.3:
                self.read(slot)
            else:
                stolen.append(slot.unread.popleft())
        return stolen

    def read(self, slot: ModelSlot) -> None:
        slot.read()
        if slot.running is not None:
            name = self.turns[slot.running]
            self.started[name] = self.started.get(name, 0) + 1
            assert self.started[name] == 1, "a task is started twice under one attempt"

    def take_answers(self, number: int) -> list[tuple[int, Answer]]:
        answers, self.model[number].answers = self.model[number].answers, []
        return answers

    def die(self, number: int) -> list[Effect]:
        answers, unread = self.take_answers(number), self.rob(number)
        self.model[number] = ModelSlot()
        return self.core.exited(number, unread, answers, Death("signal:SIGKILL"))

    @rule(
        count=st.integers(1, 8),
        expected_s=st.sampled_from([None, 0.0, 0.002, 0.02]),
        digest=st.sampled_from("ab"),
        limits=st.sampled_from([None, None, Limits(wall_s=1.0), Limits(cpu_s=1.0, processes=1)]),
        deadline_s=st.sampled_from([None, None, 0.0, 0.5, 1.5]),
    )
    def accept(
        self, count: int, expected_s: float | None, digest: str, limits: Limits | None, deadline_s: float | None
    ) -> None:
        news = []
        for _ in range(count):
            self.names += 1
            name = f"t{self.names}"
            self.ends[name] = []
            news.append(task(name, expected_s, digest, name.encode(), limits, deadline_s))
        self.carry(self.core.accept(news))

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.carry([])

    @rule(data=st.data())
    def take_or_answer(self, data: st.DataObject) -> None:
        """A slot does its next step."""
        slot = data.draw(st.sampled_from(self.model))
        if slot.running is not None:
            slot.end()
        elif slot.unread:
            self.read(slot)

    @rule(data=st.data())
    def forget_functions(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.model)).forget()

    @rule(data=st.data())
    def read_answers(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.model) - 1))
        if self.model[number].is_ready:
            self.carry(self.core.ended(number, self.take_answers(number)))

    @rule(data=st.data())
    def become_ready(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.model) - 1))
        if self.model[number].is_up and not self.model[number].is_ready:
            self.model[number].is_ready = True
            self.carry(self.core.ready(number))

    @rule(data=st.data())
    def kill_a_slot(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.model) - 1))
        if self.model[number].is_up:
            self.carry(self.die(number))

    @precondition(lambda self: self.asked)
    @rule()
    def learn(self) -> None:
        asked, self.asked = self.asked, []
        self.carry(self.core.learn({digest: digest.encode() for digest in asked}))

    @rule(count=st.integers(1, 5))
    def recall(self, count: int) -> None:
        self.carry(self.core.recall(count))

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        held = [key[0] for key in self.core.held]
        if held:
            name = data.draw(st.sampled_from(held))
            self.ends[name].append("dropped")
            self.carry(self.core.drop([Lease(name, 1)]))

    @rule()
    def abandon(self) -> None:
        for name, attempt in self.core.held:
            assert attempt == 1
            self.ends[name].append("abandoned")
        self.carry(self.core.abandon())
        assert self.core.is_empty()

    @rule()
    def drain(self) -> None:
        if self.names > 20:
            self.carry(self.core.drain())

    @invariant()
    def every_task_is_held_or_has_ended_once(self) -> None:
        if not hasattr(self, "core"):
            return
        self.core.check()
        for name, ends in self.ends.items():
            assert len(ends) == (0 if (name, 1) in self.core.held else 1), f"{name}: {ends}"

    @invariant()
    def free_and_held_never_exceed_the_slots(self) -> None:
        if hasattr(self, "core"):
            assert len(self.core.busy()) <= len(self.model)

    def teardown(self) -> None:
        """Left alone, everything that is held ends, unless the worker itself ends."""
        if not hasattr(self, "core") or self.gave_up:
            return
        for _ in range(10 * self.names + 50):
            for number, slot in enumerate(self.model):
                if slot.is_up and not slot.is_ready:
                    slot.is_ready = True
                    self.carry(self.core.ready(number))
                elif slot.running is not None:
                    slot.end()
                elif slot.unread:
                    slot.read()
                if self.model[number].is_ready:
                    self.carry(self.core.ended(number, self.take_answers(number)))
            if self.asked:
                self.learn()
        assert not self.core.held, "a task never ends"


TestSchedules = pytest.mark.timeout(110)(Schedules.TestCase)
TestSchedules.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)
