"""Shell: the sockets of a proxy, and how their addresses are written."""

import select
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from regrow.runtime.errors import ConfigError

BACKLOG: Final = 1024
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

Address = tuple[str, int] | str


def address(text: str) -> Address:
    """What a socket is told: ``("127.0.0.1", 5555)`` or ``"/path"``.  Raises ConfigError."""
    parts = urlsplit(text)
    if parts.scheme in {"unix", "ipc"} and parts.path.startswith("/") and not parts.netloc:
        return parts.path
    with suppress(ValueError):  # a port that is none
        if parts.scheme == "tcp" and parts.hostname and parts.port is not None and not parts.path:
            return parts.hostname, parts.port
    raise ConfigError(f"{text!r} is no address for a proxy: use tcp://HOST:PORT or unix:///PATH")


def socket_for(place: Address) -> socket.socket:
    family = socket.AF_UNIX if isinstance(place, str) else socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setblocking(False)
    if family != socket.AF_UNIX:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def listening(place: Address) -> socket.socket:
    if not isinstance(place, str) and place[0] not in LOOPBACK:
        raise ConfigError(f"a proxy at {place[0]} would be open to other machines: use tcp://127.0.0.1:PORT")
    listener = socket_for(place)
    try:
        if not isinstance(place, str):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def close_listener(listener: socket.socket) -> None:
    name = listener.getsockname()
    listener.close()
    if isinstance(name, str):
        Path(name).unlink(missing_ok=True)


def has_hung_up(connected: socket.socket) -> bool:
    """Whether the other side has closed, even if it left words that were not read."""
    poll = select.poll()
    poll.register(connected, select.POLLRDHUP)
    return bool(poll.poll(0))


def peer_pid(connected: socket.socket) -> int | None:
    """The process at the other end of a unix socket; None: it is none, or nobody can tell."""
    if connected.family != socket.AF_UNIX:
        return None
    pid, _, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return pid or None


def reset(connected: socket.socket) -> None:
    """Close at once: the other side gets a RST, unless both directions have ended already."""
    with suppress(OSError):
        if connected.family != socket.AF_UNIX:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connected.close()
