"""Who has been silent for too long."""

from hypothesis import given, settings
from hypothesis import strategies as some

from regrow.runtime.liveness import Liveness
from regrow.runtime.spec import Heartbeat

WINDOW_3_S = Heartbeat(1.0, 3)


def test_a_child_is_overdue_exactly_one_window_after_its_last_beat():
    liveness = Liveness(WINDOW_3_S)
    liveness.beat("a", 10.0)
    liveness.beat("a", 11.0)

    assert liveness.next_deadline() == 14.0
    assert liveness.overdue(13.999) == []
    assert liveness.overdue(14.0) == ["a"]


def test_nobody_is_watched_before_the_first_beat():
    liveness = Liveness(WINDOW_3_S)

    assert liveness.next_deadline() is None
    assert liveness.overdue(1e9) == []


def test_the_longest_silence_comes_first():
    liveness = Liveness(WINDOW_3_S)
    liveness.watch("slow", Heartbeat(2.0, 3), 0.0)
    liveness.beat("b", 2.0)
    liveness.beat("a", 1.0)

    assert liveness.next_deadline() == 4.0
    assert liveness.overdue(9.0) == ["slow", "a", "b"]


def test_each_silence_is_declared_once_and_a_beat_starts_anew():
    liveness = Liveness(WINDOW_3_S)
    liveness.watch("a", Heartbeat(1.0, 5), 0.0)
    liveness.overdue(5.0)

    assert liveness.overdue(9.0) == []
    assert liveness.next_deadline() is None
    liveness.beat("a", 10.0)
    assert liveness.next_deadline() == 15.0


def test_a_forgotten_child_is_not_judged():
    liveness = Liveness(WINDOW_3_S)
    liveness.beat("a", 0.0)
    liveness.forget("a")
    liveness.forget("unknown")

    assert liveness.overdue(100.0) == []


def test_a_child_without_a_heartbeat_is_never_judged():
    liveness = Liveness(WINDOW_3_S)
    liveness.watch("a", None, 0.0)
    liveness.beat("a", 1.0)

    assert liveness.next_deadline() is None
    assert liveness.overdue(1e9) == []
    liveness.excuse(1e9)
    assert liveness.next_deadline() is None


def test_a_supervisor_that_was_suspended_itself_blames_nobody():
    liveness = Liveness(WINDOW_3_S)
    liveness.beat("a", 0.0)
    liveness.watch("b", Heartbeat(1.0, 4), 1.0)

    liveness.excuse(100.0)

    assert liveness.overdue(102.9) == []
    assert liveness.overdue(103.0) == ["a"]
    assert liveness.overdue(104.0) == ["b"]


beats = some.lists(some.tuples(some.sampled_from("abc"), some.floats(0.0, 2.0)), max_size=30)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(beats=beats)
def test_whoever_beats_within_every_window_is_never_declared_lost(beats):
    liveness, now, last = Liveness(WINDOW_3_S), 0.0, {}

    for child, gap in beats:
        now += gap
        lost = liveness.overdue(now)
        assert set(lost) == {one for one, at in last.items() if at + 3.0 <= now}
        for one in lost:
            del last[one]
        liveness.beat(child, now)
        last[child] = now
