"""The proxy's faults, each against a plain echo server: what passes, when, and that undoing them loses nothing."""

import select
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from regrow.chaos.link_fault import Cut, Delay, LinkFault, Reset, Slice, Throttle, Way
from regrow.chaos.proxy import Proxy
from regrow.runtime.errors import ConfigError
from support.waiting import wait_until

PATIENCE_S = 10.0
QUIET_S = 0.3  # for what must not come there is no event to wait for
EARLY_S = 0.005  # clocks and timers are this rough


class Echo(socketserver.BaseRequestHandler):
    """Keeps what it hears in its server, and says it again, until it hears the end."""

    def handle(self) -> None:
        while data := self.request.recv(1 << 16):
            self.server.heard.append((time.monotonic(), data))  # type: ignore[attr-defined]
            self.request.sendall(data)


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        self.heard: list[tuple[float, bytes]] = []
        super().__init__(("127.0.0.1", 0), Echo)

    @property
    def words(self) -> bytes:
        return b"".join(data for _, data in self.heard)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.server_address[1]}"


class UnixEchoServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path: str) -> None:
        self.heard: list[tuple[float, bytes]] = []
        super().__init__(path, Echo)


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=lambda: server.serve_forever(0.01))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[EchoServer]:
    echo = EchoServer()
    with serving(echo):
        yield echo


@pytest.fixture
def proxy(server: EchoServer) -> Iterator[Proxy]:
    with Proxy(server.address) as it:
        yield it


@contextmanager
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def receive(connection: socket.socket, size: int) -> bytes:
    """Exactly so many bytes."""
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(min(size - len(data), 1 << 16))
        assert piece, f"it ended after {len(data)} bytes"
        data += piece
    return bytes(data)


def says(connection: socket.socket, words: bytes) -> bool:
    """Whether they come back."""
    connection.sendall(words)
    return receive(connection, len(words)) == words


def is_silent(connection: socket.socket) -> bool:
    """Whether nothing comes, not even an end."""
    connection.settimeout(QUIET_S)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(PATIENCE_S)
    return False


def test_without_a_fault_everything_passes_and_so_does_the_end(server: EchoServer, proxy: Proxy) -> None:
    large = bytes(range(256)) * 40_000

    with client(proxy) as one, client(proxy) as other:
        threading.Thread(target=one.sendall, args=(large,)).start()
        assert receive(one, len(large)) == large
        assert says(other, b"hello")
        one.shutdown(socket.SHUT_WR)
        assert one.recv(1) == b""

    assert proxy.accepted == 2
    assert proxy.passed_bytes(Way.OUT) == proxy.passed_bytes(Way.BACK) == len(large) + 5


def test_it_joins_unix_sockets_too_and_removes_its_own(temporary_directory: Path) -> None:
    place = temporary_directory / "echo"
    echo = UnixEchoServer(str(place))
    with (
        serving(echo),
        Proxy(f"unix://{place}", f"unix://{place}-proxy") as proxy,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.connect(proxy.address.removeprefix("unix://"))
        assert says(connection, b"hello")
        with proxy.fault(Reset()):
            assert connection.recv(1) == b""

    assert not Path(f"{place}-proxy").exists()
    place.unlink()


@pytest.mark.parametrize("way", [Way.OUT, Way.BACK, Way.BOTH])
def test_a_cut_keeps_back_what_is_sent_and_lets_it_through_when_it_is_healed(
    server: EchoServer, proxy: Proxy, way: Way
) -> None:
    with client(proxy) as connection:
        assert says(connection, b"before ")

        with proxy.fault(Cut(), way):
            connection.sendall(b"during ")
            assert is_silent(connection)
            assert server.words == (b"before during " if way is Way.BACK else b"before ")

        assert receive(connection, 7) == b"during "
        assert says(connection, b"after")
    assert server.words == b"before during after"


def test_a_cut_of_half_is_for_every_second_one_who_connects(server: EchoServer, proxy: Proxy) -> None:
    with client(proxy) as first, client(proxy) as second, client(proxy) as third:
        for each in (first, second, third):
            each.sendall(b"before")
            assert receive(each, 6) == b"before"
        proxy.apply(Cut(), to_half=True)
        for each in (first, second, third):
            each.sendall(b"during")

        assert receive(second, 6) == b"during"
        for each in (first, third):
            each.settimeout(QUIET_S)
            with pytest.raises(TimeoutError):
                each.recv(1)
            each.settimeout(PATIENCE_S)
        proxy.heal(Cut)
        assert receive(first, 6) == receive(third, 6) == b"during"


def test_on_a_unix_socket_a_process_is_in_the_same_half_when_it_connects_again(
    server: EchoServer, temporary_directory: Path
) -> None:
    path = temporary_directory / "half.sock"
    with Proxy(server.address, f"unix://{path}") as proxy:
        for number in range(3):  # always this process, so always the first half
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                connection.settimeout(PATIENCE_S)
                connection.sendall(b"x")
                assert receive(connection, 1) == b"x"
                with proxy.fault(Cut(), to_half=True):
                    connection.sendall(b"y")
                    connection.settimeout(QUIET_S)
                    with pytest.raises(TimeoutError):
                        connection.recv(1)
            assert proxy.accepted == number + 1


def test_a_cut_bounds_what_it_keeps_and_loses_none_of_it(server: EchoServer, proxy: Proxy) -> None:
    large = bytes(range(256)) * 130_000
    with client(proxy) as connection:
        sender = threading.Thread(target=connection.sendall, args=(large,))
        with proxy.fault(Cut(), Way.OUT):
            sender.start()
            sender.join(QUIET_S)
            assert sender.is_alive(), "33 megabytes do not fit"

        assert receive(connection, len(large)) == large
        sender.join(PATIENCE_S)


def test_who_connects_during_a_cut_is_served_after_it_unless_it_has_given_up(server: EchoServer, proxy: Proxy) -> None:
    with proxy.fault(Cut(), Way.BACK):
        with client(proxy) as impatient:
            impatient.sendall(b"impatient ")
        with client(proxy) as patient:
            patient.sendall(b"patient")
            assert is_silent(patient)
            assert server.words == b"", "there is no connection in one direction only"

            proxy.heal()

            assert receive(patient, 7) == b"patient"
    assert server.words == b"patient"


def test_who_hangs_up_during_a_cut_is_heard_to_the_end_after_it(server: EchoServer, proxy: Proxy) -> None:
    with client(proxy) as connection:
        assert says(connection, b"before ")
        with proxy.fault(Cut()):
            connection.sendall(b"last words")
            connection.close()

        wait_until(lambda: server.words == b"before last words", PATIENCE_S, "they arrive")


def test_a_reset_ends_every_connection_and_refuses_new_ones_until_it_is_healed(proxy: Proxy) -> None:
    with client(proxy) as connection:
        assert says(connection, b"before")

        with proxy.fault(Reset()):
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
            with pytest.raises(ConnectionResetError), client(proxy) as refused:
                refused.recv(1)

    with client(proxy) as connection:
        assert says(connection, b"after")


@pytest.mark.parametrize("way", [Way.OUT, Way.BACK])
def test_a_delay_moves_everything_by_its_time_and_keeps_the_order(server: EchoServer, proxy: Proxy, way: Way) -> None:
    with client(proxy) as connection:
        assert says(connection, b"hello")

        with proxy.fault(Delay(0.2, jitter_s=0.05), way):
            took_s = []
            for _ in range(5):
                sent_at = time.monotonic()
                assert says(connection, b"hello")
                took_s.append(time.monotonic() - sent_at)
            words = [b"%d," % number for number in range(100)]
            for word in words:
                connection.sendall(word)
            assert receive(connection, len(b"".join(words))) == b"".join(words)

        assert min(took_s) >= 0.15 - EARLY_S
        assert sorted(took_s)[2] < 0.25 + 0.5, "on average it is not much longer, even here"
        assert len(set(took_s)) > 1


def test_the_same_seed_gives_the_same_jitter(server: EchoServer) -> None:
    def waits(seed: int) -> list[float]:
        with Proxy(server.address, seed=seed) as proxy, client(proxy) as connection:
            proxy.apply(Delay(0.25, jitter_s=0.25), Way.OUT)
            found = []
            for _ in range(3):
                sent_at = time.monotonic()
                assert says(connection, b"hello")
                found.append(time.monotonic() - sent_at)
            return found

    first, same, other = waits(1), waits(1), waits(9)

    assert first == pytest.approx(same, abs=0.2)
    assert first != pytest.approx(other, abs=0.2)


def test_a_step_of_delay_makes_one_gap_and_its_end_makes_no_disorder(server: EchoServer, proxy: Proxy) -> None:
    with client(proxy) as connection:
        sent_at = time.monotonic()
        proxy.apply(Delay(0.4), Way.OUT)
        connection.sendall(b"slow,")
        wait_until(lambda: time.monotonic() > sent_at + 0.1, 1, "the first is on its way")
        proxy.heal(Delay)
        connection.sendall(b"quick")

        assert receive(connection, 10) == b"slow,quick"
        assert time.monotonic() - sent_at >= 0.4 - EARLY_S, "the quick one cannot overtake"


def test_slices_arrive_one_by_one_and_whole(server: EchoServer, proxy: Proxy) -> None:
    with client(proxy) as connection, proxy.fault(Slice(3, pause_s=0.02), Way.OUT):
        assert says(connection, b"abcdefghij")

    assert [data for _, data in server.heard] == [b"abc", b"def", b"ghi", b"j"]


def test_a_throttle_bounds_the_rate(proxy: Proxy) -> None:
    words = b"x" * 60_000
    with client(proxy) as connection, proxy.fault(Throttle(100_000), Way.BACK):
        began = time.monotonic()
        connection.sendall(words)
        assert receive(connection, len(words)) == words
        took_s = time.monotonic() - began

    assert took_s >= 0.4, "0.6 s, less the last piece's"


@pytest.mark.parametrize("fault", [Cut(), Reset(), Delay(5.0), Slice(1, 1.0), Throttle(1.0)])
def test_a_fault_is_undone_when_its_block_fails_and_others_stay(proxy: Proxy, fault: LinkFault) -> None:
    with client(proxy) as connection:
        assert says(connection, b"before")
    with pytest.raises(ZeroDivisionError), proxy.fault(fault):
        raise ZeroDivisionError

    with client(proxy) as connection:
        sent_at = time.monotonic()
        assert says(connection, b"after")
        assert time.monotonic() - sent_at < 1.0


def test_faults_of_different_kinds_add_up_and_are_undone_one_by_one(proxy: Proxy) -> None:
    with client(proxy) as connection, proxy.fault(Delay(0.2), Way.OUT):
        with proxy.fault(Slice(1, pause_s=0.1), Way.OUT):
            sent_at = time.monotonic()
            assert says(connection, b"0123456789")
            assert time.monotonic() - sent_at >= 1.1 - EARLY_S
        sent_at = time.monotonic()
        assert says(connection, b"0123456789")
        assert 0.2 - EARLY_S <= time.monotonic() - sent_at < 1.1, "the pauses are over"


def test_of_two_faults_of_one_kind_the_other_goes_on_when_one_is_undone(server: EchoServer, proxy: Proxy) -> None:
    first, second = Cut(), Cut()
    short, long = Delay(0.1), Delay(0.3)
    with client(proxy) as connection:
        for fault in (first, second, short, long):
            proxy.apply(fault)
        proxy.heal_one(first)
        proxy.heal_one(first)
        connection.sendall(b"kept back")
        assert not select.select([connection], [], [], 0.2)[0]

        proxy.heal_one(second)
        assert connection.recv(100) == b"kept back"

        proxy.heal_one(long)
        sent_at = time.monotonic()
        assert says(connection, b"in a while")
        assert 0.2 - EARLY_S <= time.monotonic() - sent_at < 0.6


def test_it_takes_no_processor_time_while_nothing_moves(proxy: Proxy) -> None:
    with client(proxy) as connection:
        assert says(connection, b"hello")
        proxy.apply(Cut())
        connection.sendall(b"held")
        before = time.process_time()
        assert is_silent(connection)

        assert time.process_time() - before < QUIET_S / 3


def test_where_nobody_listens_a_connection_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Proxy(f"tcp://127.0.0.1:{port}") as proxy, pytest.raises(ConnectionResetError), client(proxy) as connection:
        connection.recv(1)


def test_who_is_connected_when_it_closes_is_reset(server: EchoServer) -> None:
    with Proxy(server.address) as proxy, client(proxy) as connection:
        assert says(connection, b"hello")
        proxy.close()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert not any(thread.name == "chaos-proxy" for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("target", "listen", "said"),
    [
        ("127.0.0.1:5555", "tcp://127.0.0.1:0", "no address for a proxy"),
        ("tcp://127.0.0.1:many", "tcp://127.0.0.1:0", "no address for a proxy"),
        ("unix://relative", "tcp://127.0.0.1:0", "no address for a proxy"),
        ("tcp://127.0.0.1:5555", "tcp://0.0.0.0:0", "open to other machines"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(target: str, listen: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Proxy(target, listen)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Delay(-0.1),
        lambda: Delay(0.1, jitter_s=0.2),
        lambda: Delay(float("nan")),
        lambda: Slice(0),
        lambda: Slice(1, pause_s=-1.0),
        lambda: Throttle(0.0),
        lambda: Throttle(float("inf")),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_when_it_is_made(make: Callable[[], LinkFault]) -> None:
    with pytest.raises(ConfigError, match="use"):
        make()
