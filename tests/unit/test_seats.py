"""What is known of all workers at once, without going through all of them: room, order, who is crowded, who is where."""

from typing import Any

import pytest

from regrow.actors.placement import AHEAD_S, Lease, Seat
from regrow.actors.seats import Seats
from regrow.actors.task import Digest, TaskId, WorkerId
from regrow.actors.wire import BATCH_TASKS
from support.dispatching import hello

SHORT = {Digest("short"): 0.001}


def seated(*names: str, **more: Any) -> Seats:
    seats = Seats()
    for name in names:
        seats.add(Seat(hello(name, **more), 0.0))
    return seats


def of(seats: Seats, name: str) -> Seat:
    """As whoever is about to change it asks for it."""
    seat = seats.get(WorkerId(name))
    assert seat is not None
    return seat


def give(seats: Seats, name: str, *numbers: int) -> None:
    for number in numbers:
        of(seats, name).take(Lease(TaskId(f"t{number}"), 1, WorkerId(name), Digest("f"), 0.0))


def offered(seats: Seats, short_s: dict[Digest, float] | None = None) -> list[tuple[str, int]]:
    return [(share.worker, share.free) for share in seats.shares(short_s or {})]


def test_least_loaded_comes_first_and_of_equals_the_one_served_longest_ago() -> None:
    seats = seated("a", "b", "c", slots=2)
    assert offered(seats) == [("a", 2), ("b", 2), ("c", 2)]

    give(seats, "b", 1)
    seats.served(WorkerId("a"))

    assert offered(seats) == [("c", 2), ("a", 2), ("b", 1)]
    seats.check()


@pytest.mark.parametrize(
    "change", [{"is_draining": True}, {"is_reachable": False}, {"quota": 0}], ids=lambda change: next(iter(change))
)
def test_whatever_is_changed_in_a_seat_counts_at_the_next_question(change: dict[str, Any]) -> None:
    seats = seated("a", "b", slots=2)
    assert seats.idle_slots() == 4

    for name, value in change.items():
        setattr(of(seats, "a"), name, value)

    assert seats.idle_slots() == 2
    assert offered(seats) == [("b", 2)]
    seats.check()


def test_a_change_is_seen_by_whoever_goes_through_all() -> None:
    seats = seated("a", "b", slots=2)
    assert seats.idle_slots() == 4

    for seat in seats:
        seat.quota = 1

    assert seats.idle_slots() == 2


def test_what_waits_for_a_slot_makes_a_seat_crowded_until_it_is_gone() -> None:
    seats = seated("a", "b", slots=1)
    give(seats, "a", 1, 2)
    assert [seat.hello.worker for seat in seats.crowded()] == ["a"]

    of(seats, "a").release(TaskId("t1"), 1)

    assert seats.crowded() == []
    seats.check()


def test_who_has_gone_has_no_room_and_no_place() -> None:
    seats = seated("a", slots=2, tree="t", path="root/w")
    assert (seats.idle_slots(), seats.at("t", "root/w")) == (2, "a")

    seats.remove(WorkerId("a"))

    assert (seats.idle_slots(), seats.at("t", "root/w"), offered(seats)) == (0, None, [])
    seats.check()


def test_where_a_claim_fits_into_free_slots_nothing_goes_ahead_and_no_more_are_offered() -> None:
    many = seated(*(f"w{number}" for number in range(BATCH_TASKS + 50)), slots=1)
    few = seated("a", slots=1)

    shares = many.shares(SHORT)

    assert len(shares) == sum(share.free for share in shares) == BATCH_TASKS
    assert not any(share.ahead_s for share in shares)
    assert [share.ahead_s for share in few.shares(SHORT)] == [AHEAD_S]
