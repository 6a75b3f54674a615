"""Values: what a worker and its dispatcher say to each other: two closed unions over one ZeroMQ connection.

::

    worker (DEALER)                          dispatcher (ROUTER)
      Hello ───────────────────────────────▶   who, how many slots, what it still holds
      ◀─────────────────────────────── Welcome   (or Refused: it ends with that reason)
      Grant (pull only) ───────────────────▶
      ◀─────────────────────────────────── Run   many tasks per message
      NeedCode ────────────────────────────▶   digests it has not cached
      ◀────────────────────────────────── Code
      Done ────────────────────────────────▶   many outcomes per message; kept and sent again until acknowledged
      ◀─────────────────────────────────── Ack
      ◀──────────────────────────────── Recall   give back unstarted tasks, another worker is idle
      GaveBack ────────────────────────────▶
      ◀────────────────────────────────── Drop   these leases are gone: kill them, forget their outcomes
      Pressure ────────────────────────────▶   memory is short here: said again until it is not
      ◀────────────────────────────────── Shed   kill this attempt, to free memory
      Beat, every second ──────────────────▶
      ◀─────────────────────────────── Reflect   answer to each Beat, and every second: the dispatcher lives
      ◀───────────────────────────── WhoAreYou   it spoke without being registered: say Hello again
      Leaving ─────────────────────────────▶   draining: no more work, please

One message is one frame: a CRC-32, and msgpack. A batch is cut at ``BATCH_BYTES``, so a large payload travels in a message of
its own.

*Nothing is lost unnoticed.* A damaged frame is dropped, a full queue refuses one. So both sides count what they say, beats and
their answers aside, and each Beat and Reflect carries the count. Where the other side has heard less, the worker says Hello
again, which with its Welcome brings both in step, whatever it was that was lost: within a beat's interval, that is.
"""

from enum import IntEnum, StrEnum
from typing import Final

import msgspec

from regrow.actors.limits import Limits
from regrow.actors.task import Digest, Outcome, TaskId, WorkerId
from regrow.runtime.wire import sealed, unseal

PROTOCOL: Final = 4  # version of this file's meaning; a worker and a dispatcher must agree on it
BATCH_TASKS: Final = 512  # tasks or outcomes per message, at most
BATCH_BYTES: Final = 4 * 1024 * 1024  # payload bytes per message, unless one item alone is larger


class Mode(StrEnum):
    """Placement policy: who decides that a worker has room."""

    LOCAL = "local"  # dispatcher fills workers inside its own tree, over a unix socket
    PULL = "pull"  # workers grant credits
    PUSH = "push"  # dispatcher fills workers up to their capacity


class Level(IntEnum):
    """How short memory is (see ``pressure``)."""

    OK = 0
    HIGH = 1  # nothing new is started
    CRITICAL = 2  # something must end


class Lease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One task under one attempt."""

    task_id: TaskId
    attempt: int


class Hello(msgspec.Struct, frozen=True, tag="hello", forbid_unknown_fields=True):
    """First word of a worker, and again whenever it is asked who it is.

    ``held``: leases that are queued or running in it; ``done``: leases whose outcomes wait for an Ack.
    ``tree`` and ``path`` place it in a supervision tree, both "" when it has none. ``said``: as in its beats. ``memory`` names
    the memory that it takes its share of: workers of one name press on each other.
    """

    protocol: int
    worker: WorkerId
    name: str
    host: str
    pid: int
    mode: Mode
    slots: int
    python: str
    dill: str
    held: list[Lease] = []
    done: list[Lease] = []
    tree: str = ""
    path: str = ""
    is_draining: bool = False
    said: int | None = None
    memory: str = ""


class Beat(msgspec.Struct, frozen=True, tag="beat", forbid_unknown_fields=True):
    """I live, and slots of these numbers are at work. ``said``: messages so far, beats aside; ``None``: it does not count."""

    busy: list[int]
    said: int | None = None


class Grant(msgspec.Struct, frozen=True, tag="grant", forbid_unknown_fields=True):
    """Pull mode: so many tasks it is willing to hold at once, started or not; it replaces the former grant.

    What it holds uses the grant up, and what ends gives it back: a window of credit, so that no slot waits for a round trip.
    """

    tasks: int


class NeedCode(msgspec.Struct, frozen=True, tag="need_code", forbid_unknown_fields=True):
    """Digests whose functions the worker has been asked to run but does not have."""

    digests: list[Digest]


class Done(msgspec.Struct, frozen=True, tag="done", forbid_unknown_fields=True):
    """Ended attempts."""

    outcomes: list[Outcome]


class GaveBack(msgspec.Struct, frozen=True, tag="gave_back", forbid_unknown_fields=True):
    """Leases that the worker never started and will not start."""

    leases: list[Lease]


class Leaving(msgspec.Struct, frozen=True, tag="leaving", forbid_unknown_fields=True):
    """The worker drains: it finishes what runs and takes nothing new.

    With ``is_final``, it is gone after this, and leaves ``undone`` what it has started and not been acknowledged. All else
    that it was sent it has not started, whether it was there yet or not.
    """

    is_final: bool = False
    undone: list[Lease] = []


class Use(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one running attempt has taken of the memory, beyond what a slot takes that has nothing to do."""

    task_id: TaskId
    attempt: int
    used_bytes: int


class Pressure(msgspec.Struct, frozen=True, tag="pressure", forbid_unknown_fields=True):
    """How short memory is, and what runs here.  Said when that changes, and again and again until the level is OK."""

    level: Level
    used_bytes: int
    budget_bytes: int
    running: list[Use] = []


FromWorker = Hello | Beat | Grant | NeedCode | Done | GaveBack | Leaving | Pressure


class Welcome(msgspec.Struct, frozen=True, tag="welcome", forbid_unknown_fields=True):
    """The worker is registered with this dispatcher incarnation."""

    dispatcher: str
    beat_interval_s: float
    window_s: float


class Refused(msgspec.Struct, frozen=True, tag="refused", forbid_unknown_fields=True):
    """The worker cannot work here; it ends with ``reason``, which says what to change."""

    reason: str


class TaskToRun(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One task, its function named by digest. ``expected_s``: recent run time of the function, ``None`` if unknown.

    ``deadline_s``: seconds from now until it has to have ended, ``None``: no such time. ``checksum``: CRC-32 of ``params``.
    """

    task_id: TaskId
    attempt: int
    digest: Digest
    params: bytes
    expected_s: float | None = None
    checksum: int | None = None
    limits: Limits | None = None
    deadline_s: float | None = None


class Run(msgspec.Struct, frozen=True, tag="run", forbid_unknown_fields=True):
    """Tasks to run, in this order."""

    tasks: list[TaskToRun]


class Code(msgspec.Struct, frozen=True, tag="code", forbid_unknown_fields=True):
    """Function bytes by digest; ``None`` where the store no longer has them."""

    functions: dict[Digest, bytes | None]


class Ack(msgspec.Struct, frozen=True, tag="ack", forbid_unknown_fields=True):
    """The store has these outcomes, or has refused them for good: forget them."""

    leases: list[Lease]


class Recall(msgspec.Struct, frozen=True, tag="recall", forbid_unknown_fields=True):
    """Give back up to ``count`` unstarted tasks, newest first."""

    count: int


class Drop(msgspec.Struct, frozen=True, tag="drop", forbid_unknown_fields=True):
    """These leases belong to somebody else now: stop them, forget their outcomes."""

    leases: list[Lease]


class Shed(msgspec.Struct, frozen=True, tag="shed", forbid_unknown_fields=True):
    """Kill this attempt if it still runs, and report it as a victim: others need the memory that it has."""

    lease: Lease


class Reflect(msgspec.Struct, frozen=True, tag="reflect", forbid_unknown_fields=True):
    """I live: the answer to a Beat, and said unasked once a second.

    ``sent``: messages to this worker since its last Welcome, which is the first, reflections aside; ``heard``: what it has
    said, as far as it was heard. ``None``: it is not registered.
    """

    sent: int | None = None
    heard: int | None = None


class WhoAreYou(msgspec.Struct, frozen=True, tag="who_are_you", forbid_unknown_fields=True):
    """A message came from a worker that is not registered here."""


ToWorker = Welcome | Refused | Run | Code | Ack | Recall | Drop | Shed | Reflect | WhoAreYou

_encode = msgspec.msgpack.Encoder().encode
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)


def encode(message: FromWorker | ToWorker) -> bytes:
    """One message as a frame."""
    return sealed(_encode(message))


def decode_from_worker(frame: bytes) -> FromWorker:
    """What a worker said.  Raises ProtocolError for a frame that is damaged or unknown."""
    return unseal(_from_worker, frame, "worker")


def decode_to_worker(frame: bytes) -> ToWorker:
    """What a dispatcher said.  Raises ProtocolError for a frame that is damaged or unknown."""
    return unseal(_to_worker, frame, "dispatcher")
