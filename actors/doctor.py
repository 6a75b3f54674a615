"""Values: what ``regrow doctor`` looks at (facts), and what it has to say about it (findings)."""

from enum import StrEnum
from typing import Final

import msgspec

from regrow.actors.task import WorkerRecord


class Level(StrEnum):
    """How bad it is. Only a problem endangers a promise."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(msgspec.Struct, frozen=True):
    """One line: what was looked at, what that means for the promises, and what to do about it."""

    check: str
    level: Level
    says: str
    fix: str = ""


class StoreVitals(msgspec.Struct, frozen=True):
    """What a server says of itself. ``problem``: why it could not be asked. ``ahead_s``: its clock before ours."""

    url: str = ""  # as it may be shown; "" when none runs and the embedded one will be started
    problem: str = ""
    server: str = "valkey"
    version: str = ""
    role: str = "master"
    settings: dict[str, str] = {}  # those that may be read
    is_append_only: bool = True
    last_write: str = "ok"  # of the append-only file
    last_rewrite: str = "ok"
    used_bytes: int = 0
    ahead_s: float = 0.0
    missing: int = 0  # open tasks that are in no queue and under no lease
    given_up: int = 0  # so many of them were not found by a search either


class DataDir(msgspec.Struct, frozen=True):
    """Where the embedded store keeps its files. ``problem``: why it cannot be written. ``flush_s``: one fsync."""

    path: str
    problem: str = ""
    filesystem: str = "ext4"
    flush_s: float = 0.0
    free_bytes: int = 1 << 40


class Limits(msgspec.Struct, frozen=True):
    """What one process and one user may have; None: as much as they want."""

    open_files: int | None = None  # soft: ours and our children's
    most_open_files: int | None = None  # hard: to which the gateway raises it
    processes_left: int | None = None  # threads count too


class Machine(msgspec.Struct, frozen=True):
    """The kernel and the memory. ``missing``: features that regrow needs and that are not there."""

    kernel: str = ""
    missing: tuple[str, ...] = ()
    available_bytes: int = 1 << 40
    swap_bytes: int = 0
    swap_used_bytes: int = 0
    overcommit: int = 0  # vm.overcommit_memory
    huge_pages: str = "madvise"  # transparent ones: always, madvise, never
    clocksource: str = "tsc"


class Software(msgspec.Struct, frozen=True):
    """Versions. ``needed``: the least that will do; ``tested``: Python versions that regrow is tested with, "3.11" ..."""

    python: str
    tested: tuple[str, ...] = ()
    found: dict[str, str] = {}
    needed: dict[str, str] = {}
    embedded: str = ""  # why there is no embedded store, "" when there is


class TreeState(msgspec.Struct, frozen=True):
    """The tree at the data directory. ``holder``: the pid in its lock, "" when nobody holds it."""

    holder: str = ""
    has_endpoints: bool = False
    gateway: str = ""  # its URL
    problem: str = ""  # why the gateway could not be asked
    shortcomings: tuple[str, ...] = ()  # /readyz
    workers: tuple[WorkerRecord, ...] = ()


class Facts(msgspec.Struct, frozen=True):
    """Everything that was found. ``workers`` and ``slots`` (of each) are those that run, or would."""

    store: StoreVitals
    data_dir: DataDir
    limits: Limits
    machine: Machine
    software: Software
    tree: TreeState
    workers: int
    slots: int


MIB: Final = 1 << 20
GIB: Final = 1 << 30


def ok(check: str, says: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Level.OK, says)


def warning(check: str, says: str, fix: str) -> Finding:
    """It may come to harm, or costs time."""
    return Finding(check, Level.WARNING, says, fix)


def problem(check: str, says: str, fix: str) -> Finding:
    """A promise does not hold, or regrow cannot run."""
    return Finding(check, Level.PROBLEM, says, fix)


def size(count: int) -> str:
    """``1.5 GiB``"""
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / MIB:.0f} MiB"


def numbers(version: str) -> tuple[int, ...]:
    """``(6, 2, 14)`` of "6.2.14"; comparable."""
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
