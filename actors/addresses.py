"""Shell: listening sockets, and how addresses are written and shown."""

import os
import socket
from typing import Final
from urllib.parse import urlsplit

from regrow.runtime.errors import ConfigError

BACKLOG: Final = 1024


def listen(host: str, port: int, flag: str) -> socket.socket:
    """A listening socket.  Raises ConfigError that names the flag when the port cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"{flag} {port}: {os.strerror(error.errno or 0).lower()} on {host}; choose another, or 0 for a free one"
        ) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """``http://127.0.0.1:8000``"""
    return f"http://{_host_and_port(listener)}"


def address_of(listener: socket.socket) -> str:
    """``tcp://127.0.0.1:5555``"""
    return f"tcp://{_host_and_port(listener)}"


def _host_and_port(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def shown(url: str) -> str:
    """The URL without user, password and options, for people and files."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
