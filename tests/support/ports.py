"""Ports for programs that are told theirs beforehand."""

import random
import socket
from contextlib import suppress
from typing import Final

BELOW_THE_KERNELS: Final = range(20_000, 30_000)  # what it gives to connections begins at 32,768


def free_port() -> int:
    """Nobody listens on it, and no connection of another test is given it before its program has started."""
    for port in random.sample(BELOW_THE_KERNELS, 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no free port")
