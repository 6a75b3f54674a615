"""Shell: whether faults may be done to a tree that somebody else has started.

Two questions.  Is it of this machine?  Its root must be the process that listens where its gateway was reached: through a tunnel
the pids would be those of another machine, and name strangers here.  And does it allow chaos?  A tree that serves others does
not, unless it was started with ``--allow-chaos``.

``regrow chaos kill`` and ``freeze`` ask the first question only: they do what anybody who owns the processes can do with kill(1),
to one process that they name.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
import urllib3

from regrow.chaos.scene import Scene
from regrow.chaos.tree import TIMEOUT_S, TreeUnreadable, only
from regrow.runtime.errors import ConfigError

LISTENING: Final = "0A"  # in /proc/net/tcp


class Permission(msgspec.Struct, frozen=True):
    """GET /v1/chaos. ``tree``: the id of this life of the tree."""

    allowed: bool
    tree: str = ""


def attach(gateway: str) -> Scene:
    """The scene of a running tree that allows chaos, and of none that comes after it.  Raises ConfigError, and TreeUnreadable."""
    scene, root = _local(gateway)
    permission(gateway)
    return replace(scene, read_tree=only(scene.read_tree, gateway, root))


def local(gateway: str) -> Scene:
    """The scene of a running tree of this machine.  Raises ConfigError, and TreeUnreadable."""
    return _local(gateway)[0]


def _local(gateway: str) -> tuple[Scene, int]:
    """And the pid of its root."""
    port = _port(gateway)
    scene = Scene.of(gateway)
    root = scene.read_tree().pid or 0
    if not _listens(root, port):
        raise ConfigError(
            f"the tree at {gateway} is not of this machine: no process {root} of yours listens there; "
            "do faults on the machine where it runs, as its user"
        )
    return scene, root


def _port(gateway: str) -> int:
    try:
        url = urlsplit(gateway)
        port = url.port if url.scheme == "http" else None
    except ValueError:
        port = None
    if port is None:
        raise ConfigError(f"{gateway} is no gateway of this machine: say its URL, as http://127.0.0.1:8000")
    return port


def permission(gateway: str) -> Permission:
    """Raises ConfigError unless the tree allows chaos."""
    try:
        answer = urllib3.request("GET", f"{gateway}/v1/chaos", retries=False, timeout=TIMEOUT_S)
        given = msgspec.json.decode(answer.data, type=Permission) if answer.status == 200 else Permission(allowed=False)
    except (urllib3.exceptions.HTTPError, msgspec.DecodeError) as error:
        raise TreeUnreadable(f"no answer from {gateway}/v1/chaos: {error}; is 'regrow up' running?") from None
    if not given.allowed:
        raise ConfigError(
            f"the tree at {gateway} does not allow chaos: start it with 'regrow up --allow-chaos', "
            "or leave out --url and let the run start a tree of its own"
        )
    return given


def _listens(pid: int, port: int) -> bool:
    try:
        mine = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return False
    return any(f"socket:[{inode}]" in mine for inode in _listeners(port))


def _listeners(port: int) -> list[str]:
    """The inodes of this machine's sockets that listen at that port."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                found.append(words[9])
    return found
