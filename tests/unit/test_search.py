"""When a dispatcher searches for tasks that nobody has, in which steps, and how it ends."""

import pytest

from regrow.actors import search, stimuli
from regrow.actors.events import Event
from regrow.actors.search import PAUSE_S, Search
from regrow.actors.stimuli import Effect, Found, Mend, PutBack, Report, Scan, Scanned, Walk, Walked
from regrow.actors.suspects import MEND_TASKS, WALK_IDS, Close, Mended, Page, Signs
from regrow.actors.task import Move, TaskId
from support.dispatching import Bench, held, moves

WINDOW_S = 3.0
SIGNS = Signs(2, 1)


def ids(*numbers: int) -> list[TaskId]:
    return [TaskId(f"t{number}") for number in numbers]


def page(cursor: str, *numbers: int) -> Scanned:
    return Scanned(Page(cursor, 10, dict.fromkeys(ids(*numbers), b"QUEUED 0")))


class Desk:
    """A search, and a clock that goes when it is told."""

    def __init__(self, *, is_begun: bool = True) -> None:
        self.effects: list[Effect] = []
        self.search = Search(self.effects, WINDOW_S)
        self.now = 100.0
        self.search.store_back(self.now)
        if is_begun:
            self.now += WINDOW_S
            self.search.begin(SIGNS, self.now)

    def next(self) -> Effect | None:
        """The step that is taken when its time has come."""
        at = self.search.next_deadline()
        if at is None:
            return None
        self.now = max(self.now, at)
        self.search.tick(self.now)
        [step] = self.effects
        self.effects.clear()
        return step

    def hear(self, answer: Found) -> list[Effect]:
        """What is said when a step is done."""
        self.search.answered(answer, self.now)
        said = self.effects.copy()
        self.effects.clear()
        return said


def test_nothing_is_searched_before_workers_have_had_their_window() -> None:
    desk = Desk(is_begun=False)

    desk.search.begin(SIGNS, desk.now + WINDOW_S - 0.1)
    assert desk.search.next_deadline() is None

    desk.search.begin(SIGNS, desk.now + WINDOW_S)
    assert desk.search.next_deadline() == desk.now + WINDOW_S


def test_before_the_store_has_answered_there_is_no_search() -> None:
    one = Search([], WINDOW_S)

    one.begin(SIGNS, 1e9)

    assert one.next_deadline() is None


def test_a_search_scans_all_pages_walks_the_whole_queue_and_mends_what_was_not_there() -> None:
    desk = Desk()

    assert desk.next() == Scan("0")
    desk.hear(page("7", 1, 2))
    assert desk.next() == Scan("7")
    desk.hear(page("0", 3))
    assert desk.next() == Walk(0)
    desk.hear(Walked(ids(1, *range(100, 99 + WALK_IDS))))
    assert desk.next() == Walk(WALK_IDS)
    desk.hear(Walked(ids(3)))
    assert desk.next() == Mend({TaskId("t2"): b"QUEUED 0"}, Close(SIGNS, 0, pytest.approx(4 * PAUSE_S)))
    [report] = desk.hear(PutBack(Mended(queued=1)))

    assert isinstance(report, Report)
    assert (report.event, report.is_warning) == (Event.SEARCH_ENDED, True)
    assert report.fields == {"tasks": 20, "queued": 1, "leased": 0, "condemned": 0, "took_s": pytest.approx(0.04)}
    assert desk.next() is None


def test_without_suspects_the_queue_is_not_read_but_the_search_is_closed() -> None:
    desk = Desk()
    desk.next()
    desk.hear(page("0"))

    assert desk.next() == Mend({}, Close(SIGNS, 0, pytest.approx(PAUSE_S)))
    [report] = desk.hear(PutBack(Mended()))
    assert isinstance(report, Report)
    assert not report.is_warning


def test_one_step_is_under_way_at_a_time_and_a_pause_follows_each() -> None:
    desk = Desk()
    desk.next()
    assert desk.search.next_deadline() is None

    desk.now += 5.0
    desk.search.begin(Signs(9, 9), desk.now)
    assert desk.search.next_deadline() is None, "it is told again while it is under way"
    desk.hear(page("7", 1))

    assert desk.search.next_deadline() == desk.now + PAUSE_S
    desk.search.tick(desk.now)
    assert desk.effects == []


def test_what_is_mended_at_once_is_bounded_and_counted_to_the_end() -> None:
    desk = Desk()
    desk.next()
    desk.hear(page("0", *range(2 * MEND_TASKS + 1)))
    assert desk.next() == Walk(0)
    desk.hear(Walked([]))

    steps = []
    while (step := desk.next()) is not None:
        assert isinstance(step, Mend)
        steps.append(step)
        desk.hear(PutBack(Mended(queued=len(step.suspects))))

    assert [len(step.suspects) for step in steps] == [MEND_TASKS, MEND_TASKS, 1]
    assert [step.close and step.close.mended for step in steps] == [None, None, 2 * MEND_TASKS]


def test_a_round_with_many_suspects_is_finished_before_the_next_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_SUSPECTS", 3)
    desk = Desk()
    desk.next()
    desk.hear(page("7", 1, 2, 3))

    assert desk.next() == Walk(0)
    desk.hear(Walked(ids(1, 3)))
    assert desk.next() == Mend({TaskId("t2"): b"QUEUED 0"}, None)
    desk.hear(PutBack(Mended(queued=1)))
    assert desk.next() == Scan("7")
    desk.hear(page("0", 4))
    assert desk.next() == Walk(0), "the queue is read again, from its end"


def test_a_store_that_was_away_has_other_cursors_so_the_search_starts_over() -> None:
    desk = Desk()
    desk.next()
    desk.hear(page("7", 1))

    desk.search.store_back(desk.now)

    assert desk.next() == Scan("0")
    desk.search.store_back(desk.now)
    assert desk.next() is None, "a step is under way"
    desk.hear(page("9", 1))
    assert desk.next() == Scan("0"), "its answer is of the search that was broken off"
    desk.hear(page("0"))
    assert isinstance(desk.next(), Mend)


def test_who_stops_takes_no_more_steps() -> None:
    desk = Desk()
    desk.next()

    desk.search.cease()
    desk.hear(page("7", 1))
    desk.search.begin(SIGNS, desk.now + 1000.0)

    assert desk.next() is None


# In the dispatcher


def steps(effects: list[Effect]) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, Scan | Walk | Mend | stimuli.ReadLeases)]


def test_a_dispatcher_that_is_told_of_signs_searches_and_a_stop_ends_that() -> None:
    bench = Bench()
    bench.until(104.0)
    assert steps(bench.feed(stimuli.Pulsed(0, []))) == []

    bench.feed(stimuli.Pulsed(0, [], SIGNS))
    assert bench.core.next_deadline() == 104.0
    assert steps(bench.until(104.0)) == [Scan("0")]
    bench.feed(page("7"), stimuli.Stop(1.0))

    assert steps(bench.until(104.5)) == []


def test_leases_that_were_put_back_are_lost_unless_somebody_has_them() -> None:
    bench = Bench(held=[held(1, "w")])
    assert steps(bench.feed(stimuli.Pulsed(0, [], None, has_leases_back=True))) == [stimuli.ReadLeases()]

    effects = bench.feed(stimuli.LeasesRead([held(1, "w"), held(2, "")]))

    assert moves(effects) == [("t2", Move.LOSE_WORKER)]
