"""Shell: how a process outside a tree asks actors inside it: an operator's command, say.

Whoever can reach the private run directory may ask; that is the whole of the access control.
"""

import os
import secrets
import socket
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgspec

from regrow.runtime import wire
from regrow.runtime.desk import content
from regrow.runtime.errors import NoSuchActor
from regrow.runtime.exchange import ROOT_SOCKET
from regrow.runtime.link import Poller, connect_dealer
from regrow.runtime.mailbox import timeout_of
from regrow.runtime.routing import GUEST
from regrow.runtime.tree import SupervisorMessage, Tree, TreeNode
from regrow.runtime.wire import Call, Refusal, Reply

T = TypeVar("T")


class Guest:
    """A visitor of the tree whose run directory this is.  Raises NoSuchActor when no tree lives there.  One thread only."""

    def __init__(self, run_directory: Path) -> None:
        path = run_directory / ROOT_SOCKET
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError as error:
                raise NoSuchActor(f"no tree lives in {run_directory} ({error.strerror})") from error
            self._root = os.pidfd_open(_peer(probe))
        self._name = f"{GUEST}{secrets.token_hex(8)}"
        self._dealer = connect_dealer(f"ipc://{path}", self._name.encode())
        self._ref = 0
        self._poller = Poller()
        self._poller.add(self._dealer)
        self._poller.add(self._root)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self._poller.close()
        self._dealer.close()
        os.close(self._root)

    @overload
    def call(self, path: str, message: msgspec.Struct, timeout_s: float) -> Any: ...
    @overload
    def call(self, path: str, message: msgspec.Struct, timeout_s: float, reply_type: type[T]) -> T: ...
    def call(self, path: str, message: msgspec.Struct, timeout_s: float, reply_type: Any = Any) -> Any:
        """As ``Context.call``.  Raises NoSuchActor, CallTimeout, CallRefused, ProtocolError."""
        self._ref += 1
        deadline = time.monotonic() + timeout_s
        self._dealer.send(wire.encode(Call(path, "", self._ref, msgspec.msgpack.encode(message))))
        while (left := deadline - time.monotonic()) > 0:
            ready = self._poller.wait(left)
            for frame in self._dealer.receive():
                answer = wire.read_to_child(frame)
                if isinstance(answer, Reply | Refusal) and answer.ref == self._ref:
                    return content(answer, reply_type, path)
            if self._root in ready:
                raise NoSuchActor(f"the tree ended before {path} answered")
        raise timeout_of(path, timeout_s)


def _peer(connection: socket.socket) -> int:
    """The pid of the process that listens at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


@overload
def ask_root(run_directory: Path, message: SupervisorMessage, *, path: str = ..., timeout_s: float = ...) -> Any: ...
@overload
def ask_root(
    run_directory: Path, message: SupervisorMessage, reply_type: type[T], *, path: str = ..., timeout_s: float = ...
) -> T: ...
def ask_root(
    run_directory: Path,
    message: SupervisorMessage,
    reply_type: Any = Any,
    *,
    path: str = "root",
    timeout_s: float = 5.0,
) -> Any:
    """One question to the supervisor at ``path``: Tree, WhichChildren, Resize ...; errors as ``Guest.call``."""
    with Guest(run_directory) as guest:
        return guest.call(path, message, timeout_s, reply_type)


def tree_of(run_directory: Path, timeout_s: float = 5.0) -> TreeNode:
    """The picture of the whole tree."""
    return ask_root(run_directory, Tree(), TreeNode, timeout_s=timeout_s)
