"""The record's entries: events, and the place of each."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrow.actors.happenings import KEPT, ChildEvent, Entry, FaultEvent, Place, TaskEvent, encode_event
from regrow.actors.scripts import RECORD

MOVES = msgspec.msgpack.encode(["t1", "submit", 0, "", "", "t2", "claim", 1, "w", ""])


def test_an_entry_of_moves_is_one_event_per_move_at_the_stores_time() -> None:
    entry = Entry("1500-7", {b"kind": b"task", b"moves": MOVES})

    assert entry.events() == [
        TaskEvent(1.5, "t1", "submit", 0, "", ""),
        TaskEvent(1.5, "t2", "claim", 1, "w", ""),
    ]
    assert entry.may_tell_of("t2")
    assert not entry.may_tell_of("t3")


def test_an_entry_of_a_child_is_one_event_at_its_own_time() -> None:
    event = ChildEvent(2.5, "child.down", "root/a", 3, 44, "signal:SIGKILL", "here")

    assert Entry("9000-0", {b"kind": b"child", b"event": encode_event(event)}).events() == [event]


def test_an_entry_of_a_fault_is_one_event_at_its_own_time() -> None:
    event = FaultEvent(2.5, "freeze", "root/workers/worker-0", "injected", "for 5 s", "here")

    assert Entry("9000-0", {b"kind": b"fault", b"event": encode_event(event)}).events() == [event]


def test_the_scripts_keep_as_many_entries_as_the_gateway() -> None:
    assert f'"{{regrow}}:events", "MAXLEN", "~", {KEPT}, ' in RECORD.text


@pytest.mark.parametrize(
    "fields",
    [{b"kind": b"new"}, {b"moves": b"\xff"}, {b"event": b"{"}, {}],
    ids=["new kind", "moves", "child", "empty"],
)
def test_an_entry_that_cannot_be_read_tells_nothing(fields: dict[bytes, bytes]) -> None:
    assert Entry("1-1", fields).events() == []


@given(st.tuples(st.integers(0, 2**60), st.integers(0, 2**60), st.integers(0, 10**8)))
def test_a_place_is_its_text(numbers: tuple[int, int, int]) -> None:
    assert Place.parse(str(Place(*numbers))) == Place(*numbers)


def test_an_entry_without_a_number_is_all_of_it_and_nought_is_nothing() -> None:
    nothing, whole, first = Place.parse("0"), Place.parse("5-1"), Place.parse("5-1.0")
    assert nothing is not None
    assert whole is not None
    assert first is not None

    assert nothing < first < whole == Entry("5-1", {}).end


@pytest.mark.parametrize("text", ["", "1", "-1", "1-", "a-b", "1-2.", "1-2.x", "1-2.3.4", " 1-2", "٣-1", "$", "+"])
def test_what_is_no_place_is_none(text: str) -> None:
    assert Place.parse(text) is None
