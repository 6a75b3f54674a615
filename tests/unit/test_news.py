"""What a supervisor tells its followers: everything once, in order, whenever they ask."""

from hypothesis import given
from hypothesis import strategies as st

from regrow.runtime.news import KEPT, MAX_FOLLOWERS, PAGE, Newsroom
from regrow.runtime.tree import Happening

A, B = "root/a", "root/a/b"


def happenings(*numbers: int) -> list[Happening]:
    return [Happening(float(number), "child.up", f"root/{number}", number) for number in numbers]


def test_who_asks_is_answered_at_once_where_there_is_something() -> None:
    room = Newsroom()
    room.add(happenings(1, 2, 3))

    news = room.follow(A, 1)

    assert news is not None
    assert (news.first, [what.incarnation for what in news.happenings], news.last) == (2, [2, 3], 3)


def test_who_is_up_to_date_is_answered_once_by_the_next_happening() -> None:
    room = Newsroom()
    room.add(happenings(1))

    assert room.follow(A, 1) is None
    assert [(path, news.first) for path, news in room.add(happenings(2))] == [(A, 2)]
    assert room.add(happenings(3)) == [], "it has not asked again"


def test_asking_twice_is_asking_once() -> None:
    room = Newsroom()
    room.follow(A, 0)
    room.follow(A, 0)

    assert len(room.add(happenings(1))) == 1


def test_nothing_new_is_no_news() -> None:
    room = Newsroom()
    room.follow(A, 0)

    assert room.add([]) == []
    assert len(room.add(happenings(1))) == 1


def test_a_number_from_another_life_is_answered_with_everything() -> None:
    room = Newsroom()
    room.add(happenings(1, 2))

    news = room.follow(A, 500)

    assert news is not None
    assert news.first == 1


def test_the_oldest_go_and_their_numbers_tell_of_the_gap() -> None:
    room = Newsroom()
    room.add(happenings(*range(1, KEPT + 11)))

    news = room.follow(A, 3)

    assert news is not None
    assert (news.first, len(news.happenings)) == (11, PAGE)


def test_the_dead_and_those_below_them_are_sent_nothing() -> None:
    room = Newsroom()
    for path in (A, B, "root/ab"):
        room.follow(path, 0)

    room.forget(A)

    assert [path for path, _ in room.add(happenings(1))] == ["root/ab"]


def test_only_so_many_wait_at_once() -> None:
    room = Newsroom()
    for n in range(MAX_FOLLOWERS + 5):
        room.follow(f"root/{n}", 0)

    told = [path for path, _ in room.add(happenings(1))]

    assert len(told) == MAX_FOLLOWERS
    assert "root/0" not in told


@given(st.lists(st.one_of(st.integers(1, 250), st.just("ask"), st.just("restart")), max_size=30))
def test_a_follower_that_asks_on_and_on_hears_everything_once_and_in_order(steps: list[int | str]) -> None:
    room, heard, told, last = Newsroom(), list[int](), 0, 0
    for step in [*steps, *["ask"] * 10]:
        if isinstance(step, int):
            told += step
            answers = [news for _, news in room.add(happenings(*range(told - step + 1, told + 1)))]
        elif step == "restart":
            room.forget(A)
            answers = []
        else:
            news = room.follow(A, last)
            answers = [] if news is None else [news]
        for news in answers:
            heard += [what.incarnation for what in news.happenings if what.incarnation > last]
            last = max(last, news.last)
        if told - last > KEPT - 250:
            return  # it was away for longer than anything is kept

    assert heard == list(range(1, last + 1))
    assert last == told
