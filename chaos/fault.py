"""Values: what can be done to an actor on purpose, and the record of having done it."""

from enum import StrEnum

import msgspec


class Role(StrEnum):
    """Who can be a victim; the words of the tree."""

    ROOT = "root"
    SUPERVISOR = "supervisor"
    STORE = "store"
    DISPATCHER = "dispatcher"
    WORKER = "worker"
    SLOT = "slot"
    GATEWAY = "gateway"


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    """SIGKILL: the process is gone at once. There is nothing to undo: bringing it back is its supervisor's work."""


class Freeze(msgspec.Struct, frozen=True, tag="freeze"):
    """SIGSTOP for ``for_s`` seconds, then SIGCONT: the process is silent, but not dead."""

    for_s: float


Fault = Kill | Freeze


class Victim(msgspec.Struct, frozen=True):
    """One process, once. ``started_at`` (clock ticks since boot) tells it from a later process with the same pid."""

    path: str
    role: str
    pid: int
    incarnation: int
    started_at: int


class Injection(msgspec.Struct, frozen=True):
    """A fault that was applied. ``at`` is monotonic seconds of the machine, comparable between processes."""

    fault: Fault
    victim: Victim
    at: float
