"""The cutting of ZeroMQ's bytes into messages, and what becomes of messages: for any messages, cut anywhere."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from regrow.chaos.link_fault import Corrupt, Drop, Duplicate, FrameFault, Reorder
from regrow.chaos.mishaps import Mishaps
from regrow.chaos.zmtp import COMMAND, GREETING_BYTES, LONG, MORE, Message, Splitter

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)

bodies = st.one_of(st.binary(max_size=40), st.sampled_from([bytes(255), bytes(256), bytes(70_000)]))
messages = st.lists(bodies, min_size=1, max_size=4).map(tuple)
commands = st.binary(max_size=20)
words = st.lists(st.one_of(messages, commands), max_size=8)
cuts = st.lists(st.integers(1, 100), min_size=1, max_size=30)


def frame(body: bytes, flags: int) -> bytes:
    """As libzmq writes it."""
    if len(body) > 255:
        return bytes([flags | LONG]) + len(body).to_bytes(8, "big") + body
    return bytes([flags, len(body)]) + body


def wire(word: bytes | tuple[bytes, ...]) -> bytes:
    """A command is bytes, a message a tuple of bodies."""
    if isinstance(word, bytes):
        return frame(word, COMMAND)
    return b"".join(frame(body, MORE) for body in word[:-1]) + frame(word[-1], 0)


def split(stream: bytes, sizes: list[int]) -> list[bytes | Message]:
    """All that a splitter gives out for it, fed in pieces of these sizes, the last of them again and again in larger ones."""
    splitter, found, at, turn = Splitter(), [], 0, 0
    while at < len(stream):
        size = sizes[turn] if turn < len(sizes) else 10_000
        found += splitter.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    return found


def whole(pieces: list[bytes | Message]) -> bytes:
    return b"".join(piece.wire() if isinstance(piece, Message) else piece for piece in pieces)


def contents(pieces: list[bytes | Message]) -> list[tuple[bytes, ...]]:
    return [tuple(body for _, body in piece.frames) for piece in pieces if isinstance(piece, Message)]


@given(words, cuts)
def test_messages_are_found_wherever_the_bytes_are_cut_and_nothing_is_changed(
    said: list[bytes | tuple[bytes, ...]], sizes: list[int]
) -> None:
    stream = GREETING + b"".join(map(wire, said))

    pieces = split(stream, sizes)

    assert whole(pieces) == stream
    assert contents(pieces) == [word for word in said if isinstance(word, tuple)]


@given(messages, st.integers(0, GREETING_BYTES + 400))
def test_a_message_that_is_not_whole_is_kept_back_and_no_more_than_that(message: tuple[bytes, ...], size: int) -> None:
    stream = (GREETING + wire(message))[: GREETING_BYTES + size]
    splitter = Splitter()

    given_out = whole(splitter.feed(stream))

    assert given_out in (stream[:GREETING_BYTES], stream)
    assert (
        whole(splitter.feed((GREETING + wire(message))[len(stream) :])) == (GREETING + wire(message))[len(given_out) :]
    )


@given(st.binary(min_size=1, max_size=400), cuts)
def test_what_is_not_zmtp_passes_as_it_is(stream: bytes, sizes: list[int]) -> None:
    stream = b"GET " + stream

    pieces = split(stream, sizes)

    assert pieces
    assert all(isinstance(piece, bytes) for piece in pieces)
    assert whole(pieces) == stream


@given(messages, st.data())
def test_a_flipped_bit_is_in_a_body_and_the_only_difference(message: tuple[bytes, ...], data: st.DataObject) -> None:
    (before,) = [piece for piece in split(GREETING + wire(message), [64]) if isinstance(piece, Message)]
    if not before.size_bytes:
        return
    bit = data.draw(st.integers(0, before.size_bytes * 8 - 1))

    after = before.flipped(bit)

    assert [header for header, _ in after.frames] == [header for header, _ in before.frames]
    joined = [int.from_bytes(b"".join(body for _, body in one.frames), "little") for one in (before, after)]
    assert joined[0] ^ joined[1] == 1 << bit


def named(number: int) -> Message:
    return Message(((bytes([0, 1]), bytes([number])),))


def fates(count: int, *faults: FrameFault, seed: int = 0) -> list[int]:
    """The numbers of the messages that come out, of so many."""
    mishaps = Mishaps(Random(seed).random)
    sent = [one for n in range(count) for one in mishaps.pass_on(named(n), {type(fault): fault for fault in faults})]
    return [one.frames[0][1][0] for one in [*sent, *mishaps.rest()]]


def test_without_a_fault_all_messages_pass_in_order() -> None:
    assert fates(50) == list(range(50))


@given(st.integers())
def test_a_drop_loses_about_its_share_and_changes_nothing_else(seed: int) -> None:
    passed = fates(250, Drop(0.5), seed=seed)

    assert passed == sorted(set(passed))
    assert 60 < len(passed) < 190


@given(st.integers())
def test_a_duplicate_follows_its_original(seed: int) -> None:
    passed = fates(250, Duplicate(0.5), seed=seed)

    assert passed == sorted(passed)
    assert set(Counter(passed).values()) == {1, 2}
    assert set(passed) == set(range(250))


@given(st.integers())
def test_a_reordered_message_comes_after_the_next_one_and_none_is_lost(seed: int) -> None:
    passed = fates(250, Reorder(0.5), seed=seed)

    assert sorted(passed) == list(range(250))
    assert passed != list(range(250))
    assert all(abs(number - place) <= 1 for place, number in enumerate(passed))


def test_a_certain_fault_is_certain() -> None:
    assert fates(50, Drop(1.0)) == []
    assert fates(4, Duplicate(1.0)) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert fates(4, Reorder(1.0)) == [1, 0, 3, 2]
    assert all(fate != n for n, fate in enumerate(fates(50, Corrupt(1.0))))


def test_what_waits_when_the_fault_is_undone_goes_with_the_next_message() -> None:
    mishaps = Mishaps(Random(0).random)

    assert mishaps.pass_on(named(0), {Reorder: Reorder(1.0)}) == []
    assert mishaps.pass_on(named(1), {}) == [named(1), named(0)]
    assert mishaps.rest() == []


def test_what_has_happened_is_counted() -> None:
    mishaps = Mishaps(Random(0).random)
    for n in range(10):
        mishaps.pass_on(named(n), {Drop: Drop(1.0)})

    assert mishaps.happened == {Drop: 10}
