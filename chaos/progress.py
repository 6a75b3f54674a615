"""Values: what a run tells while it runs, for whoever shows it."""

from collections.abc import Callable
from enum import StrEnum

import msgspec

from regrow.chaos.evidence import Sample, Strike


class Phase(StrEnum):
    """In this order; not every run has all of them."""

    START = "start"  # the tree comes up
    BASELINE = "baseline"  # the same workload without faults
    GATE = "gate"  # the steady state before
    METHOD = "method"  # workload and faults
    SETTLE = "settle"  # faults undone, until every task has ended
    READ = "read"  # the steady state after, and every task once more
    CHECK = "check"
    STOP = "stop"  # the tree is stopped


class Entered(msgspec.Struct, frozen=True, tag="entered"):
    """A phase has begun. ``within_s``: how long it takes, or may take, where that is known."""

    phase: Phase
    at: float
    within_s: float | None = None


class Struck(msgspec.Struct, frozen=True, tag="struck"):
    """A fault was done, or has missed (then it has no ``applied_at``)."""

    strike: Strike


class Undone(msgspec.Struct, frozen=True, tag="undone"):
    """A fault was undone."""

    strike: Strike


class Sampled(msgspec.Struct, frozen=True, tag="sampled"):
    """A probe has looked."""

    sample: Sample


class Count(msgspec.Struct, frozen=True, tag="count"):
    """How far the workload is, and how many faults are to be undone, about once a second."""

    at: float
    sent: int
    acknowledged: int
    ended: int
    outstanding: int = 0


class Said(msgspec.Struct, frozen=True, tag="said"):
    """Something else that a person should read."""

    text: str


Word = Entered | Struck | Undone | Sampled | Count | Said
Observer = Callable[[Word], None]  # called by one thread at a time, not always the same: it must not block
