"""A real valkey-server on a unix socket, which dies with the process that started it.

::

    with valkey_server(tmp_path) as server:
        Store.connect(server.url)

``REGROW_TEST_SERVER`` names another server's program, to run the tests of the store on: redis-server 6.2, say.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from regrow.actors.embedded import binary
from support.waiting import wait_until

DURABLE = {"appendonly": "yes", "appendfsync": "always"}
DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class Valkey:
    """One server and its directory; it can be killed and started again on the same files."""

    def __init__(self, directory: Path, socket: Path, settings: dict[str, str]) -> None:
        self.directory = directory
        self.socket = socket
        self.url = f"unix://{socket}"
        self.settings = {"port": "0", "save": "", "unixsocket": str(socket), "dir": str(directory)} | settings
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = [word for name, value in self.settings.items() for word in (f"--{name}", value)]
        launcher = [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, str(os.getpid())]
        with (self.directory / "output").open("ab") as output:
            server = os.environ.get("REGROW_TEST_SERVER") or binary()
            self.process = subprocess.Popen([*launcher, server, *options], stdout=output, stderr=output)
        wait_until(self.answers, within=10, what="valkey-server answers")

    def answers(self) -> bool:
        """Is it up, and done with loading?"""
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def client(self) -> redis.Redis:
        """A plain client, for looking behind the store's back."""
        return redis.Redis.from_url(self.url)

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGKILL) -> None:
        """End it by a signal, and wait for that; no harm if it has ended."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=10)
            self.process = None


@contextmanager
def valkey_server(directory: Path, **settings: str) -> Iterator[Valkey]:
    """A running server with its files in ``directory``; its socket has a short path of its own."""
    with tempfile.TemporaryDirectory(prefix="valkey-") as place:
        server = Valkey(
            directory, Path(place) / "socket", {name.replace("_", "-"): value for name, value in settings.items()}
        )
        server.start()
        try:
            yield server
        finally:
            server.end()
