"""Shell: how faults are undone, as values that a journal keeps and another process can run.

Each can be run twice, and long after the process that it is about has ended: then there is nothing to undo, and it says so.
Nothing here is loaded that is not needed at once: the guardian is to be there quickly.
"""

import resource
import signal
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from regrow.chaos.lineage import NoVictim, held, send
from regrow.runtime.errors import RegrowError

STORE_WITHIN_S: Final = 5.0  # for a store that is just starting again
LIMITS: Final = {resource.RLIMIT_NOFILE: "limit of descriptors", resource.RLIMIT_FSIZE: "limit of file size"}
RETRY_S: Final = 0.1  # between looks


class UndoFailed(RegrowError):
    """A fault is still there."""

    code = "undo_failed"


class Continue(msgspec.Struct, frozen=True, tag="continue"):
    """Let a stopped process go on."""

    pid: int
    started_at: int

    def run(self) -> str:
        """SIGCONT."""
        return _to(self.pid, self.started_at, signal.SIGCONT, "goes on")


class Unlimit(msgspec.Struct, frozen=True, tag="unlimit"):
    """Give a process a resource limit back (``resource``: a number of setrlimit(2))."""

    pid: int
    started_at: int
    resource: int
    soft: int
    hard: int

    def run(self) -> str:
        """Prlimit(2)."""
        try:
            with held(self.pid, self.started_at):
                resource.prlimit(self.pid, self.resource, (self.soft, self.hard))
        except (NoVictim, ProcessLookupError):
            return f"process {self.pid} has ended"
        most = "unlimited" if self.soft == resource.RLIM_INFINITY else self.soft
        return f"process {self.pid} has its {LIMITS.get(self.resource, 'limit')} again: {most}"


class EndHelper(msgspec.Struct, frozen=True, tag="end_helper"):
    """End a process that was started for a fault, as a hog."""

    pid: int
    started_at: int

    def run(self) -> str:
        """SIGKILL."""
        return _to(self.pid, self.started_at, signal.SIGKILL, "was ended")


class StoreUnpause(msgspec.Struct, frozen=True, tag="store_unpause"):
    """Let the store answer again."""

    url: str
    within_s: float  # by then it goes on by itself, where it does not even listen to this

    def run(self) -> str:
        """CLIENT UNPAUSE."""
        from regrow.chaos.store_door import ANSWER_S, StoreDoor

        def unpause() -> str:
            with StoreDoor(self.url, self.within_s + ANSWER_S) as door:
                door.unpause()
            return "the store goes on"

        return _ended(self.url) or _at_the_store(unpause)


class StoreSetting(msgspec.Struct, frozen=True, tag="store_setting"):
    """Set something of the store back to what it was."""

    url: str
    name: str
    value: str

    def run(self) -> str:
        """CONFIG SET."""
        from regrow.chaos.store_door import StoreDoor

        def put_back() -> str:
            with StoreDoor(self.url) as door:
                door.set(self.name, self.value)
            return f"the store has {self.name} {self.value} again"

        return _ended(self.url) or _at_the_store(put_back)


class StoreField(msgspec.Struct, frozen=True, tag="store_field"):
    """Put one field of a record back, if it is still as it was damaged."""

    url: str
    key: str
    field: str
    damaged: bytes
    whole: bytes

    def run(self) -> str:
        """HSET."""
        from regrow.chaos.store_door import StoreDoor

        def restore() -> str:
            with StoreDoor(self.url) as door:
                is_restored = door.exchange(self.key, self.field, self.damaged, self.whole)
            return f"{self.key} {'is whole again' if is_restored else 'has another story by now'}"

        try:
            return _at_the_store(restore)
        except RegrowError:
            if ended := _ended(self.url):
                return f"{ended}; {self.key} lies in its files as it was damaged"
            raise


class RemoveFile(msgspec.Struct, frozen=True, tag="remove_file"):
    """Remove a file that a fault has made, as one that a hook reads."""

    path: str

    def run(self) -> str:
        """Unlink it."""
        file = Path(self.path)
        if not file.exists():
            return f"{file.name} is not there"
        file.unlink(missing_ok=True)
        return f"{file.name} was removed"


class HealLink(msgspec.Struct, frozen=True, tag="heal_link"):
    """Let a link be as it was.  Only the process that has its proxy can do that, and with that process the proxy ends too."""

    link: str

    def run(self) -> str:
        """Nothing is left to do here."""
        return f"the link {self.link} is whole: its proxy was healed, or has ended"


Undo = Continue | Unlimit | EndHelper | StoreUnpause | StoreSetting | StoreField | RemoveFile | HealLink


def run(undos: Iterable[Undo]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Run all of them, the last first, whatever becomes of each: what they say, and what went wrong."""
    said, problems = [], []
    for one in reversed(tuple(undos)):
        try:
            said.append(one.run())
        except (RegrowError, OSError) as error:
            problems.append(f"{type(one).__name__}: {error}")
    return tuple(said), tuple(problems)


def _to(pid: int, started_at: int, number: signal.Signals, word: str) -> str:
    try:
        send(pid, started_at, number)
    except NoVictim:
        return f"process {pid} has ended"
    return f"process {pid} {word}"


def _ended(url: str) -> str:
    """Says so when nobody listens at a store's socket: it has ended, and what was set there ended with it."""
    if not url.startswith("unix://"):
        return ""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(STORE_WITHIN_S)
        try:
            probe.connect(url.removeprefix("unix://"))
        except (FileNotFoundError, ConnectionRefusedError):
            return "the store has ended"
        except OSError:
            return ""  # it is there, and busy
    return ""


def _at_the_store(act: Callable[[], str]) -> str:
    """Again and again for a while: it may be busy."""
    from regrow.chaos.store_door import StoreShut

    deadline = time.monotonic() + STORE_WITHIN_S
    while True:
        try:
            return act()
        except StoreShut:
            if time.monotonic() > deadline:
                raise
        time.sleep(RETRY_S)
