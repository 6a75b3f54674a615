"""Damaged, unknown and forged frames are counted and dropped; nobody falls."""

import random
import socket
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from regrow.runtime import child, wire
from regrow.runtime.errors import CallRefused
from regrow.runtime.exchange import ROOT_SOCKET
from regrow.runtime.link import connect_dealer
from regrow.runtime.spec import SupervisorSpec
from regrow.runtime.tree import Tree
from support.actors import Ask, Puppet, PuppetArguments
from support.trees import RunningTree
from support.waiting import wait_until

SPEC = SupervisorSpec((child("a", Puppet, PuppetArguments()),))


class Nonsense(msgspec.Struct, frozen=True, tag="nonsense"):
    number: int = 0


def noise(seed: int, count: int) -> list[bytes]:
    """Random bytes, and real messages with a few bytes changed, with a checksum that fits them and without."""
    chance = random.Random(seed)
    call = wire.encode(wire.Call("root", "x", 1, msgspec.msgpack.encode(Tree())))
    frames = [b"", b"\xc1", call[:-1], b"\x91" * 5000]
    for _ in range(count):
        frames.append(chance.randbytes(chance.randrange(200)))
        damaged = bytearray(call)
        damaged[chance.randrange(len(call))] ^= 1 << chance.randrange(8)
        frames += [bytes(damaged), wire.sealed(bytes(damaged[wire.CHECK_BYTES :]))]
    return frames


@pytest.mark.parametrize("identity", [b"@guest", b"stranger", b"a:1:1", b"\xff\xfe"])
def test_noise_at_a_supervisor_is_dropped_and_its_children_live_on(identity: bytes) -> None:
    with RunningTree(SPEC) as tree:
        dealer = connect_dealer(f"ipc://{tree.directory / ROOT_SOCKET}", identity)
        for frame in noise(seed=7, count=300):
            assert dealer.send(frame)

        wait_until(lambda: "frame.dropped" in tree.errors(), 5, "the noise was counted")

        dealer.close()
        assert tree.ask("root/a").incarnation == 1
        assert tree.process.poll() is None


def test_noise_below_zeromq_is_no_harm() -> None:
    with RunningTree(SPEC) as tree:
        for frame in noise(seed=8, count=20):
            with socket.socket(socket.AF_UNIX) as plain:
                plain.connect(str(tree.directory / ROOT_SOCKET))
                plain.sendall(frame or b"GET / HTTP/1.1\r\n\r\n")

        assert tree.ask("root/a").incarnation == 1


def test_a_body_that_an_actor_does_not_know_is_refused_and_it_lives_on() -> None:
    with RunningTree(SPEC) as tree:
        for path in ("root/a", "root"):
            with pytest.raises(CallRefused, match="protocol"):
                tree.call(path, Nonsense())

        assert tree.ask("root/a").received == 1


def test_a_child_is_not_hurt_by_what_its_supervisor_passes_on() -> None:
    with RunningTree(SPEC) as tree:
        frames = noise(seed=9, count=25)
        assert len(frames) < Puppet.mailbox_size - 10, "what is refused for want of room proves nothing here"
        with closing(connect_dealer(f"ipc://{tree.directory / ROOT_SOCKET}", b"@guest")) as dealer:
            for frame in frames:
                dealer.send(wire.encode(wire.Cast("root/a", "", frame)))
            dealer.send(wire.encode(wire.Cast("root/a", "", msgspec.msgpack.encode(Ask()))))

            wait_until(lambda: tree.ask("root/a").received >= 2, 10, "the good one arrived", every=0.1)
        assert tree.ask("root/a").incarnation == 1


def test_a_guest_speaks_in_its_own_name_only(tmp_path: Path) -> None:
    with RunningTree(SPEC) as tree:
        dealer = connect_dealer(f"ipc://{tree.directory / ROOT_SOCKET}", b"@guest")
        dealer.send(wire.encode(wire.Ready()))
        dealer.send(wire.encode(wire.Call("root", "root/a", 5, msgspec.msgpack.encode(Tree()))))

        wait_until(lambda: dealer.wait(0.1), 5, "the answer comes to the guest, not to root/a")

        answer = wire.read_to_child(dealer.receive()[0])
        dealer.close()
        assert isinstance(answer, wire.Reply)
        assert answer.to == "root/@guest"
