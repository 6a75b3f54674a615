"""Values: what ``slots.Slots`` asks its worker to do. A closed union; a worker carries the effects out in order."""

import msgspec

from regrow.actors.limits import Limits
from regrow.actors.output import NOTHING_PRINTED, Printed
from regrow.actors.task import Digest, Outcome
from regrow.actors.wire import Lease


class Spawn(msgspec.Struct, frozen=True):
    """Start a process for this slot, ``delay_s`` from now."""

    slot: int
    delay_s: float


class Kill(msgspec.Struct, frozen=True):
    """Kill this slot's process group; its end is told to ``Slots.exited`` like any other."""

    slot: int


class Feed(msgspec.Struct, frozen=True):
    """Write one task into this slot's socket. ``code`` is ``None`` when the slot has the function."""

    slot: int
    number: int
    digest: Digest
    params: bytes
    code: bytes | None
    limits: Limits | None = None
    checksum: int | None = None


class Steal(msgspec.Struct, frozen=True):
    """Take back what this slot has not read, then what it has answered, and tell both to ``Slots.stolen``."""

    slot: int


class Measure(msgspec.Struct, frozen=True):
    """Read what this slot and all below it use, and tell it to ``Judge.measured``."""

    slot: int


class NeedCode(msgspec.Struct, frozen=True):
    """Ask the dispatcher for these functions."""

    digests: list[Digest]


class Deliver(msgspec.Struct, frozen=True):
    """Send this outcome to the dispatcher."""

    outcome: Outcome


class GiveBack(msgspec.Struct, frozen=True):
    """Tell the dispatcher that these leases were never started here and will not be."""

    leases: list[Lease]


class GiveUp(msgspec.Struct, frozen=True):
    """No slot has ever become ready: the worker cannot work and should end, saying ``note``."""

    note: str


Effect = Spawn | Kill | Feed | Steal | Measure | NeedCode | Deliver | GiveBack | GiveUp


class Death(msgspec.Struct, frozen=True):
    """How a slot's process ended: ``reason`` is "signal:SIGSEGV", "exit:3" ...; ``output`` its last lines.

    ``printed``: by the task that it was at. ``peak_bytes``: the most memory that it had, over its life. ``is_oom``: the kernel has
    killed something for want of memory just then.
    """

    reason: str
    output: str = ""
    printed: Printed = NOTHING_PRINTED
    peak_bytes: int = 0
    is_oom: bool = False
