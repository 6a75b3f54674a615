"""Shell: sockets that carry frames; the only file that imports zmq.

Invariants: one context per process, one thread per socket, LINGER 0 and finite high-water marks, no send ever waits.
A Router refuses to send to a peer that is gone (``ROUTER_MANDATORY``) and lets a restarted peer take over its
identity (``ROUTER_HANDOVER``).
"""

import itertools
import os
import select
from contextlib import suppress
from typing import Final, Protocol

import zmq

HIGH_WATER_MARK: Final = 10_000  # frames queued per peer and direction before a send is refused
DRAIN: Final = 1_000  # frames that one receive() takes at most, so that other sockets get their turn
MAX_FRAME_BYTES: Final = 96 * 1024 * 1024  # larger frames are refused by the socket
RECONNECT_MS: Final = 50
_NUMBERS: Final = itertools.count()
SILENT_PEER_MS: Final = 3_000  # a TCP peer whose machine has vanished is dropped after this long


def _milliseconds(seconds: float) -> int:
    """Rounded up, so that nobody wakes just before a deadline and turns round in circles."""
    return int(seconds * 1000) + 1 if seconds > 0 else 0


class HasFileno(Protocol):
    """Anything with a descriptor."""

    def fileno(self) -> int:
        """Its descriptor."""
        ...


class _Socket:
    """What Router and Dealer share: options and an end."""

    def __init__(self, kind: int, max_frame_bytes: int) -> None:
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.set_hwm(HIGH_WATER_MARK)
        self.socket.setsockopt(zmq.MAXMSGSIZE, max_frame_bytes)

    def _expect_silence(self, address: str) -> None:
        if address.startswith("tcp://"):
            self.socket.setsockopt(zmq.HEARTBEAT_IVL, SILENT_PEER_MS // 3)
            self.socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENT_PEER_MS)

    def close(self) -> None:
        """Close at once; what was not sent is dropped.  May be called twice."""
        if not self.socket.closed:
            self.socket.close()


class Router(_Socket):
    """The bound end: many peers, each known by its identity."""

    def __init__(self, address: str, fd: int | None, max_frame_bytes: int) -> None:
        super().__init__(zmq.ROUTER, max_frame_bytes)
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self._expect_silence(address)
        if fd is not None:
            # ZeroMQ leaves a given socket as it is.  When a Router that is closing shares it with its successor, both are woken
            # by one connection; the slower one's accept() would wait for the next one, and every socket of the process with it.
            os.set_blocking(fd, False)
            self.socket.setsockopt(zmq.USE_FD, os.dup(fd))
        try:
            self.socket.bind(address)
        except zmq.ZMQError as error:
            self.close()
            raise OSError(error.errno, f"{error.strerror}: {address}") from error
        self.address = self.socket.get_string(zmq.LAST_ENDPOINT)

    def receive(self, limit: int = DRAIN) -> list[tuple[bytes, bytes]]:
        """What has arrived, as (identity, frame); a message that is not one frame arrives as an empty frame."""
        frames: list[tuple[bytes, bytes]] = []
        try:
            while len(frames) < limit:
                parts = self.socket.recv_multipart(zmq.NOBLOCK)
                frames.append((parts[0], parts[1] if len(parts) == 2 else b""))
        except zmq.Again:
            pass
        return frames

    def send(self, identity: bytes, frame: bytes) -> bool:
        """False when that peer is gone or its queue is full: nothing was sent."""
        try:
            self.socket.send_multipart((identity, frame), zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                return False
            raise
        return True


class Dealer(_Socket):
    """The connecting end: one peer, which may come and go."""

    def __init__(self, address: str, identity: bytes, max_frame_bytes: int) -> None:
        super().__init__(zmq.DEALER, max_frame_bytes)
        self.socket.setsockopt(zmq.IDENTITY, identity)
        self.socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        self._expect_silence(address)
        self.connections = Connections(self.socket)  # before the first one can be made
        try:
            self.socket.connect(address)
        except zmq.ZMQError as error:
            self.close()
            raise OSError(error.errno, f"{error.strerror}: {address}") from error

    def receive(self, limit: int = DRAIN) -> list[bytes]:
        """The frames that have arrived; a message that is not one frame arrives as an empty frame."""
        frames: list[bytes] = []
        try:
            while len(frames) < limit:
                parts = self.socket.recv_multipart(zmq.NOBLOCK)
                frames.append(parts[0] if len(parts) == 1 else b"")
        except zmq.Again:
            pass
        return frames

    def send(self, frame: bytes) -> bool:
        """False when the queue is full: nothing was sent."""
        try:
            self.socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def wait(self, timeout_s: float) -> bool:
        """Block until something has arrived, at most ``timeout_s`` seconds; whether it has."""
        return bool(self.socket.poll(_milliseconds(timeout_s)))

    def fileno(self) -> int:
        """A descriptor that turns readable at the *edge* of news: after it, and after each send, drain with receive()."""
        return int(self.socket.getsockopt(zmq.FD))

    def close(self, last_words_s: float = 0.0) -> None:
        """Close; give what was not sent yet at most ``last_words_s`` seconds, in the background."""
        self.connections.close()
        if not self.socket.closed:
            self.socket.close(linger=int(last_words_s * 1000))


class Connections(_Socket):
    """Readable when a Dealer has connected: for the first time, or again, after its peer had gone and come back."""

    def __init__(self, dealer: "zmq.Socket[bytes]") -> None:
        self._dealer = dealer
        address = f"inproc://connections-{next(_NUMBERS)}"  # by default a descriptor's number, which may be used again
        self.socket = dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED, address)

    def made(self) -> int:
        """How many connections since the last call."""
        count = 0
        with suppress(zmq.Again):
            while True:
                self.socket.recv_multipart(zmq.NOBLOCK)
                count += 1
        return count

    def close(self) -> None:
        """Before the Dealer is closed.  May be called twice."""
        if not self._dealer.closed:
            self._dealer.disable_monitor()
            self.socket.close()


def bind_router(address: str, fd: int | None = None, max_frame_bytes: int = MAX_FRAME_BYTES) -> Router:
    """A Router at ``ipc://PATH`` or ``tcp://HOST:PORT`` (port 0 picks one; see ``.address``).

    ``fd``: a listening socket for that very address, which stays the caller's: the port outlives the Router, and peers
    that connect while there is none wait instead of being refused.  Raises OSError when the address cannot be had.
    """
    return Router(address, fd, max_frame_bytes)


def connect_dealer(address: str, identity: bytes, max_frame_bytes: int = MAX_FRAME_BYTES) -> Dealer:
    """A Dealer that keeps (re)connecting to ``address`` in the background."""
    return Dealer(address, identity, max_frame_bytes)


Readable = _Socket | HasFileno | int


class Poller:
    """Waits for sockets and plain descriptors at once.

    Plain descriptors sit in an epoll set of their own, of which ZeroMQ's poller sees one descriptor: a round costs the
    same with one child as with a thousand.
    """

    def __init__(self) -> None:
        self._poller = zmq.Poller()
        self._epoll = select.epoll()
        self._poller.register(self._epoll.fileno(), zmq.POLLIN)
        self._sockets: dict[zmq.Socket[bytes], _Socket] = {}

    def add(self, readable: Readable) -> None:
        """Wait for it too."""
        if isinstance(readable, _Socket):
            self._sockets[readable.socket] = readable
            self._poller.register(readable.socket, zmq.POLLIN)
        else:
            self._epoll.register(readable, select.EPOLLIN)

    def remove(self, readable: Readable) -> None:
        """Wait for it no longer; call before it is closed."""
        if isinstance(readable, _Socket):
            del self._sockets[readable.socket]
            self._poller.unregister(readable.socket)
        else:
            self._epoll.unregister(readable)

    def wait(self, timeout_s: float | None) -> list[_Socket | int]:
        """What is readable: sockets as themselves, the rest as descriptor numbers, sockets first.  ``None``: for ever."""
        found = self._poller.poll(None if timeout_s is None else _milliseconds(timeout_s))
        ready: list[_Socket | int] = [self._sockets[key] for key, _ in found if not isinstance(key, int)]
        if len(ready) < len(found):
            ready += [fd for fd, _ in self._epoll.poll(0)]
        return ready

    def close(self) -> None:
        """Release the descriptor."""
        self._epoll.close()
