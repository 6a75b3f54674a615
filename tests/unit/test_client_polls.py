"""Which tasks are asked after in which call: by examples, and under random schedules."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from regrow.gateway.polls import CROWDED_S, EMPTY_S, IDS, LINGER_AT_MOST_S, POLLS, WAIT_S, Polls


def ids(count: int, prefix: str = "t") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def test_a_task_is_asked_after_at_once_and_patiently() -> None:
    polls = Polls()
    polls.add(["a"])

    poll = polls.next_poll()

    assert poll is not None
    assert (poll.ids, poll.wait_s) == (["a"], WAIT_S)
    assert polls.next_poll() is None
    assert polls.to_interrupt() is None


def test_later_tasks_join_the_smallest_call_when_all_are_under_way() -> None:
    polls = Polls()
    for number in range(POLLS):
        polls.add(ids(number + 2, f"p{number}-"))
        polls.next_poll()

    polls.add(["late"])
    smallest = polls.to_interrupt()

    assert smallest is polls.under_way[0]
    polls.returned(smallest, [])
    merged = polls.next_poll()
    assert merged is not None
    assert merged.ids == ["late", "p0-0", "p0-1"]


def test_new_tasks_are_not_kept_waiting_by_full_and_patient_calls() -> None:
    polls = Polls()
    for number in range(POLLS):
        polls.add(ids(IDS, f"p{number}-"))
        polls.next_poll()

    polls.add(["late"])
    patient = polls.to_interrupt()

    assert patient is not None
    polls.returned(patient, [])
    hasty = polls.next_poll()
    assert hasty is not None
    assert hasty.ids[0] == "late"
    assert hasty.wait_s == CROWDED_S


def test_what_a_call_left_open_goes_first_unless_the_call_brought_nothing() -> None:
    polls = Polls()
    polls.add(["a", "b"])
    first = polls.next_poll()
    assert first is not None
    polls.add(["c"])

    polls.returned(first, ["a"])
    assert list(polls.line) == ["b", "c"]

    second = polls.next_poll()
    assert second is not None
    polls.add(["d"])
    polls.returned(second, [])
    assert list(polls.line) == ["d", "b", "c"]


def test_asking_again_waits_the_longer_the_more_tasks_are_outstanding() -> None:
    polls = Polls()
    assert polls.linger_s(was_empty=False) == 0
    assert polls.linger_s(was_empty=True) == EMPTY_S

    polls.add(ids(1000))
    assert 0.009 < polls.linger_s(was_empty=False) < 0.011

    polls.add(ids(1_000_000, "u"))
    assert polls.linger_s(was_empty=False) == LINGER_AT_MOST_S


class AnyTraffic(RuleBasedStateMachine):
    """No outstanding task is ever forgotten or asked after twice at once, whatever comes when."""

    def __init__(self) -> None:
        super().__init__()
        self.polls = Polls()
        self.outstanding: set[str] = set()
        self.made = 0

    @rule(count=st.sampled_from([1, 2, 500, 1500]))
    def submit(self, count: int) -> None:
        new = [f"t{self.made + number}" for number in range(count)]
        self.made += count
        self.outstanding.update(new)
        self.polls.add(new)

    @rule()
    def start(self) -> None:
        self.polls.next_poll()

    @precondition(lambda self: self.polls.under_way)
    @rule(which=st.integers(0, POLLS - 1), settled=st.integers(0, IDS))
    def come_back(self, which: int, settled: int) -> None:
        poll = self.polls.under_way[which % len(self.polls.under_way)]
        ended = [task_id for task_id in poll.ids if task_id in self.outstanding][:settled]
        self.outstanding.difference_update(ended)
        self.polls.returned(poll, ended)

    @precondition(lambda self: self.outstanding)
    @rule()
    def give_one_up(self) -> None:
        task_id = min(self.outstanding)
        self.outstanding.discard(task_id)
        self.polls.forget(task_id)

    @rule()
    def interrupt(self) -> None:
        late = self.polls.to_interrupt()
        if late is not None:
            self.polls.returned(late, [])
            assert self.polls.next_poll() is not None

    @invariant()
    def every_outstanding_task_is_in_the_line_or_in_one_call(self) -> None:
        places = [*self.polls.line, *(task_id for poll in self.polls.under_way for task_id in poll.ids)]
        assert self.outstanding <= set(places)
        assert len(places) == len(set(places))
        assert self.polls.wanted == self.outstanding

    @invariant()
    def calls_are_few_and_of_bounded_size(self) -> None:
        assert len(self.polls.under_way) <= POLLS
        assert all(0 < len(poll.ids) <= IDS for poll in self.polls.under_way)


TestAnyTraffic = AnyTraffic.TestCase
