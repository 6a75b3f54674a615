"""A client of the event stream on a plain socket, so that a test decides when it reads, and what has come."""

import json
import select
import socket
import time
from typing import Any, NamedTuple, Self

RECEIVE_BYTES = 4096  # of a listener that is to be slow: little fits between it and the gateway


class Told(NamedTuple):
    """One event."""

    id: str
    kind: str
    data: dict[str, Any]


class EventListener:
    """One connection, as a context manager."""

    def __init__(
        self, port: int, query: str = "", headers: dict[str, str] | None = None, *, slow: bool = False
    ) -> None:
        self.socket = socket.socket()
        if slow:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self.socket.connect(("127.0.0.1", port))
        lines = {"Host": f"127.0.0.1:{port}", **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.socket.sendall(f"GET /v1/events{query} HTTP/1.1\r\n{head}\r\n".encode())
        self.raw = b""
        self.has_ended = False
        self._events: list[Told] = []
        self._parsed = 0
        self._body = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @property
    def status(self) -> int:
        """Of the answer; read it until there is one."""
        while b"\r\n\r\n" not in self.raw and self.read(10):
            pass
        return int(self.raw.split()[1])

    def read(self, within: float) -> bool:
        """Take in what is there, waiting for at most ``within`` seconds; False when nothing came, or the end."""
        if self.has_ended or not select.select([self.socket], [], [], within)[0]:
            return False
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self.raw += data
        self.has_ended = not data
        return bool(data)

    def events(self) -> list[Told]:
        """Those that have come so far, gap and end among them."""
        rest = self.raw.partition(b"\r\n\r\n")[2]
        while True:
            at = self._parsed
            size_text, found, _ = rest[at : at + 20].partition(b"\r\n")
            size = int(size_text or b"0", 16) if found else 0
            start = at + len(size_text) + 2
            if not found or size == 0 or len(rest) < start + size + 2:
                break
            self._body += rest[start : start + size]
            self._parsed = start + size + 2
        *blocks, self._body = self._body.split(b"\n\n")
        for block in blocks:
            fields = dict(line.split(": ", 1) for line in block.decode().splitlines() if not line.startswith(":"))
            if "data" in fields:
                self._events.append(Told(fields.get("id", ""), fields["event"], json.loads(fields["data"])))
        return self._events

    def until(self, count: int, within: float = 20.0) -> list[Told]:
        """At least ``count`` events."""
        deadline = time.monotonic() + within
        while len(self.events()) < count:
            left = deadline - time.monotonic()
            assert not self.has_ended, f"it has ended: {self.raw[-500:]!r}"
            assert left > 0, f"{len(self.events())} of {count} events: {self.raw[-500:]!r}"
            self.read(left)
        return self.events()

    def until_end(self, within: float = 20.0) -> list[Told]:
        """All that there is, when the gateway has ended the stream."""
        deadline = time.monotonic() + within
        while not self.has_ended and b"\r\n0\r\n\r\n" not in self.raw[-7:]:
            assert time.monotonic() < deadline, f"it has not ended: {self.raw[-500:]!r}"
            self.read(deadline - time.monotonic())
        return self.events()
