"""Every control message comes back as it went; everything else is a ProtocolError."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrow.runtime import wire
from regrow.runtime.errors import ProtocolError
from regrow.runtime.spec import ChildState, ExitReason, ReasonKind
from regrow.runtime.tree import TreeNode

NODE = TreeNode("a", "root/a", "worker", 7, ChildState.RUNNING, 2, 1, (), {"slots": "4"})
LETTERS: list[wire.Letter] = [
    wire.Cast("root/a", "root/b", b"x"),
    wire.Call("root/a", "root/b", 1, b"x"),
    wire.Reply("root/b", 1, b"y"),
    wire.Refusal("root/b", 1, "config", "no"),
    wire.Monitor("root/a", "root/b", 2),
    wire.Down("root/b", 2, "root/a", ExitReason(ReasonKind.SIGNAL, "SIGKILL")),
    wire.Forget("root/a", "root/b", 2),
]
FROM_CHILD: list[wire.FromChild] = [wire.Hello("worker"), wire.Ready(), wire.Beat(), wire.Show((NODE,), {"a": "b"})]


@pytest.mark.parametrize("message", FROM_CHILD + LETTERS)
def test_what_a_child_says_is_read_as_it_was_written(message: wire.FromChild) -> None:
    assert wire.read_from_child(wire.encode(message), "a") == message


@pytest.mark.parametrize("message", [wire.Stop(1.5), wire.Stop(None), *LETTERS])
def test_what_a_supervisor_says_is_read_as_it_was_written(message: wire.ToChild) -> None:
    assert wire.read_to_child(wire.encode(message)) == message


def test_a_message_of_the_other_direction_is_refused() -> None:
    with pytest.raises(ProtocolError):
        wire.read_from_child(wire.encode(wire.Stop(None)), "a")
    with pytest.raises(ProtocolError):
        wire.read_to_child(wire.encode(wire.Beat()))


def test_an_unknown_field_is_refused_and_the_error_names_the_peer() -> None:
    with pytest.raises(ProtocolError, match="peer a") as caught:
        wire.read_from_child(msgspec.msgpack.encode({"type": "beat", "surprise": 1}), "a")

    assert caught.value.peer == "a"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_protocol_error(frame: bytes) -> None:
    for read in (lambda: wire.read_from_child(frame, "a"), lambda: wire.read_to_child(frame)):
        try:
            message = read()
        except ProtocolError:
            continue
        assert isinstance(message, wire.FromChild | wire.ToChild)


def test_deep_nesting_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        wire.read_from_child(b"\x91" * 100_000, "a")
