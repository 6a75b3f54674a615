"""Values: who can be hit by a fault, and one process that was."""

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


class Victim(msgspec.Struct, frozen=True):
    """One process, once. ``started_at`` (clock ticks since boot) tells it from a later process with the same pid."""

    path: str
    role: str
    pid: int
    incarnation: int
    started_at: int

    @property
    def worker(self) -> str:
        """Name of the worker that it is, or is a slot of; "" for others."""
        parts = self.path.split("/")
        if self.role == Role.SLOT:
            return parts[-2]
        return parts[-1] if self.role == Role.WORKER else ""
