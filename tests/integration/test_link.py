"""Sockets: who is gone is known, who comes back is heard, a port outlives its socket."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from regrow.runtime.link import Dealer, Poller, Router, bind_router, connect_dealer
from support.waiting import wait_until


@pytest.fixture
def address(temporary_directory: Path) -> str:
    return f"ipc://{temporary_directory}/link-{os.urandom(4).hex()}"


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    """Closes what a test opens; a socket may be closed before."""
    with ExitStack() as stack:
        yield stack


def routed(ends: ExitStack, address: str, fd: int | None = None, **options: int) -> Router:
    return ends.enter_context(closing(bind_router(address, fd, **options)))


def dealt(ends: ExitStack, address: str, identity: bytes) -> Dealer:
    return ends.enter_context(closing(connect_dealer(address, identity)))


def received(router: Router) -> list[tuple[bytes, bytes]]:
    return wait_until(router.receive, 5, "a frame arrives")


def test_frames_travel_both_ways(address: str, ends: ExitStack) -> None:
    router, dealer = routed(ends, address), dealt(ends, address, b"one")
    dealer.send(b"there")

    assert received(router) == [(b"one", b"there")]
    assert router.send(b"one", b"back")
    assert dealer.wait(5)
    assert dealer.receive() == [b"back"]
    assert dealer.receive() == []


def test_a_send_to_a_peer_that_is_gone_says_so(address: str, ends: ExitStack) -> None:
    router, dealer = routed(ends, address), dealt(ends, address, b"one")
    dealer.send(b"there")
    received(router)

    dealer.close()

    wait_until(lambda: not router.send(b"one", b"x"), 5, "the router knows that it is gone")
    assert not router.send(b"never seen", b"x")


def test_a_peer_that_comes_back_takes_its_identity_over(address: str, ends: ExitStack) -> None:
    router, first = routed(ends, address), dealt(ends, address, b"one")
    first.send(b"1")
    received(router)
    second = dealt(ends, address, b"one")
    second.send(b"2")
    assert received(router) == [(b"one", b"2")]

    router.send(b"one", b"for the second")

    assert second.wait(5)
    assert second.receive() == [b"for the second"]
    assert first.receive() == []


def test_a_full_queue_refuses_instead_of_waiting(address: str, ends: ExitStack) -> None:
    dealer = dealt(ends, address, b"one")  # nobody is bound there

    taken = sum(dealer.send(b"x") for _ in range(20_000))

    assert taken == 10_000


def test_a_dealer_finds_a_router_that_restarts(address: str, ends: ExitStack) -> None:
    router, dealer = routed(ends, address), dealt(ends, address, b"one")
    dealer.send(b"1")
    received(router)
    router.close()

    router = routed(ends, address)

    wait_until(lambda: dealer.send(b"2") and router.receive(), 5, "a frame sent after the restart arrives")


def test_peers_of_a_reserved_port_wait_for_its_router_and_find_the_next(ends: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        address = f"tcp://127.0.0.1:{reserved.getsockname()[1]}"
        dealer = dealt(ends, address, b"one")
        dealer.send(b"early")
        router = routed(ends, address, reserved.fileno())
        assert router.address == address
        assert received(router) == [(b"one", b"early")]

        router.close()
        router = routed(ends, address, reserved.fileno())

        wait_until(lambda: dealer.send(b"late") and router.receive(), 5, "the next router hears the same peer")


def test_routers_that_share_a_port_do_not_hang_in_accept(ends: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        address = f"tcp://127.0.0.1:{reserved.getsockname()[1]}"
        routers = [routed(ends, address, reserved.fileno()) for _ in range(4)]  # all woken by each connection

        for number in range(5):
            dealt(ends, address, b"%d" % number).send(b"x")

            heard = wait_until(lambda: [frame for router in routers for frame in router.receive()], 5, "it is heard")
            assert heard == [(b"%d" % number, b"x")]


def test_a_frame_above_the_bound_is_refused_and_the_router_lives_on(address: str, ends: ExitStack) -> None:
    router = routed(ends, address, max_frame_bytes=1000)
    big, small = dealt(ends, address, b"big"), dealt(ends, address, b"small")

    big.send(b"x" * 1001)
    small.send(b"x" * 1000)

    assert received(router) == [(b"small", b"x" * 1000)]
    assert router.receive() == []


def test_a_taken_address_is_an_oserror_that_names_it(ends: ExitStack) -> None:
    router = routed(ends, "tcp://127.0.0.1:0")
    assert not router.address.endswith(":0")

    with pytest.raises(OSError, match=router.address):
        routed(ends, router.address)


def test_a_poller_waits_for_sockets_and_descriptors_at_once(address: str, ends: ExitStack) -> None:
    router, dealer = routed(ends, address), dealt(ends, address, b"one")
    reader, writer = os.pipe()
    poller = Poller()
    for readable in (router, dealer, reader):
        poller.add(readable)
    assert poller.wait(0.0) == []

    os.write(writer, b"x")
    assert poller.wait(5) == [reader]
    dealer.send(b"x")
    wait_until(lambda: set(map(id, poller.wait(5))) == {id(router), id(reader)}, 5, "both are readable")

    poller.remove(reader)
    assert poller.wait(5) == [router]
    poller.close()
    os.close(reader)
    os.close(writer)
