"""Values: what goes into the store's scripts and what comes out of them, for both clients of the store.

Nothing here talks to a server: functions make argument lists, and values from replies.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from regrow.actors.limits import NO_OPTIONS, NO_TERMS, Options
from regrow.actors.suspects import Signs, signs_of
from regrow.actors.task import (
    MAX_LOST_WORKERS,
    Digest,
    Drop,
    Failure,
    FailureKind,
    FunctionId,
    FunctionRecord,
    Move,
    NewTask,
    Settlement,
    TaskId,
    Verdict,
    WorkerId,
)
from regrow.actors.wire import BATCH_BYTES, BATCH_TASKS

SILENT_MS: Final = 3_000  # without a sign of life, after which a dispatcher's leases may be inherited
FORGET_MS: Final = 60_000  # of silence, after which a dispatcher without leases is forgotten
SERIES_MS: Final = 24 * 3600 * 1000  # after which nothing of a former incarnation can be on its way any more
COMPLETED: Final = "completed"  # an attempt's outcome that is no failure

Reply = Sequence[bytes | int]
Argument = str | bytes | int | float
T = TypeVar("T")


class Held(msgspec.Struct, frozen=True):
    """A lease as the store has it."""

    task_id: TaskId
    attempt: int
    worker: WorkerId
    digest: Digest


class Pulse(msgspec.Struct, frozen=True):
    """The answer to a beat. ``silent``: dispatchers without a sign of life for 3 s that still hold leases; ``signs``: a search is due."""

    queued: int
    silent: list[str]
    signs: Signs | None = None
    has_leases_back: bool = False
    leases: int = 0  # that are the asker's own


class SubmitVerdict(StrEnum):
    """The store's answer to one new task."""

    ACCEPTED = "accepted"
    UNKNOWN_FUNCTION = "unknown_function"
    QUEUE_FULL = "queue_full"
    REPEATED = "repeated"  # it was accepted before
    CONFLICT = "conflict"  # another task was accepted before under its idempotency key
    DAMAGED_FUNCTION = "damaged_function"  # what the store knows of the function is not what was written


class CancelVerdict(StrEnum):
    """The store's answer to the wish that a task be cancelled."""

    CANCELLED = "cancelled"  # now or before
    ENDED = "ended"  # otherwise, before
    UNKNOWN = "unknown"
    RUNNING = "running"  # and goes on: only what is QUEUED was to be cancelled


class DispatcherRecord(msgspec.Struct, frozen=True):
    """A dispatcher, as it reports itself once a second. ``last_beat`` (Unix seconds) and ``is_alive`` are the store's word."""

    dispatcher: str
    host: str
    pid: int
    mode: str
    endpoint: str
    started_at: float
    last_beat: float = 0.0
    is_alive: bool = False
    damaged_frames: int = 0  # of workers, dropped since its start


encode_options = msgspec.msgpack.Encoder().encode
encode_dispatcher = msgspec.msgpack.Encoder().encode
encode_workers = msgspec.msgpack.Encoder().encode
_encode_failure = msgspec.msgpack.Encoder().encode

SUBMIT_VERDICTS: Final = dict(enumerate(SubmitVerdict, 1))  # in the order of the numbers that submit.lua answers
CANCEL_VERDICTS: Final = dict(enumerate(CancelVerdict, 1))  # and of cancel.lua
SETTLE_VERDICTS: Final = {1: Verdict.STORED, 2: Verdict.REQUEUED, 3: Verdict.STALE, 4: Verdict.VANISHED}
SETTLING: Final = frozenset({Move.SUCCEED, Move.FAIL, Move.CRASH, Move.OOM, Move.LOSE_WORKER, Move.GIVE_BACK})
CANCELLED: Final = msgspec.msgpack.encode(Failure(FailureKind.CANCELLED, "Cancelled", "the task was cancelled"))


def batches(items: Sequence[T], size_of: Callable[[T], int]) -> Iterator[Sequence[T]]:
    """Runs of at most BATCH_TASKS items and BATCH_BYTES bytes; an item larger than that is a run of its own."""
    start = held_bytes = 0
    for at, item in enumerate(items):
        size = size_of(item)
        if at > start and (at - start == BATCH_TASKS or held_bytes + size > BATCH_BYTES):
            yield items[start:at]
            start, held_bytes = at, 0
        held_bytes += size
    if start < len(items):
        yield items[start:]


def submit_arguments(tasks: Sequence[NewTask], max_queued: int) -> list[Argument]:
    """For submit.lua."""
    arguments: list[Argument] = [max_queued]
    for task in tasks:
        limit = "" if task.max_attempts is None else task.max_attempts
        checksum = "" if task.checksum is None else task.checksum
        times, limits = (b"", b"") if task.options is NO_OPTIONS else _packed(task.options)
        arguments += (task.task_id, task.function_id, task.params, limit, task.body, checksum, times, limits)
    return arguments


def _packed(options: Options) -> tuple[bytes, bytes]:
    """For submit.lua: times, in whole ms, and limits; each b"" where there are none."""
    times = {"delay": options.delay_s, "expires": options.expires_s, "deadline": options.deadline_s}
    given = {name: int(1000 * time) for name, time in times.items() if time is not None}
    limits = b"" if options.limits is None else encode_options(options.limits)
    return encode_options(given) if given else b"", limits


def facts_of_function(record: FunctionRecord) -> dict[str, str | int | bytes]:
    """What scripts read of a function; terms and ttl only where it has any."""
    facts: dict[str, str | int | bytes] = {"digest": record.digest, "max_attempts": record.max_attempts}
    if record.terms != NO_TERMS:
        facts["terms"] = encode_options(record.terms)
    if record.ttl_s is not None:
        facts["ttl"] = int(1000 * record.ttl_s)
    return facts | {"seal": _seal_of(facts)}


def _seal_of(facts: Mapping[str, str | int | bytes]) -> str:
    """As submit.lua makes it: 32 bits of a digest, by which damage is told from truth."""
    values = [facts.get(name, b"") for name in ("digest", "max_attempts", "terms", "ttl")]
    sealed = b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in values)
    return hashlib.sha1(sealed, usedforsecurity=False).hexdigest()[:8]


def due_of(reply: Reply) -> tuple[int, float | None, list[FunctionId]]:
    """From due.lua: tasks queued, seconds until it is to be asked again (``None``: nothing waits), functions that are gone."""
    moved, next_ms, *gone = reply
    return int(moved), None if int(next_ms) < 0 else int(next_ms) / 1000, [FunctionId(text_of(name)) for name in gone]


def lease_of(
    task_id: bytes, number: bytes, worker: bytes | None, digest: bytes | None, attempt: bytes | None
) -> Held | None:
    """From an entry of {regrow}:leases:<dispatcher> and its task's record; ``None``: no task's id looks like that.

    Where entry and record disagree on the attempt, the record counts: the store's fence goes by it.
    """
    try:
        name = task_id.decode()
    except UnicodeDecodeError:
        return None
    known = next((int(text) for text in (attempt, number) if text and text.isdigit()), 0)
    return Held(TaskId(name), known, WorkerId(text_of(worker or b"")), Digest(text_of(digest or b"")))


def pulse_of(reply: Reply) -> Pulse:
    """From beat.lua."""
    queued, due, vanished, missing, has_leases_back, leases, *silent = reply
    names = [text_of(name) for name in silent]
    return Pulse(int(queued), names, signs_of(due, vanished, missing), bool(has_leases_back), int(leases))


def drops_of(lines: Iterable[bytes]) -> list[Drop]:
    """From {regrow}:drops:<dispatcher>.  A damaged line is passed over: its task has ended, and runs on to no effect."""
    return [drop for drop in map(_drop_of, lines) if drop is not None]


def _drop_of(line: bytes) -> Drop | None:
    try:
        task_id, attempt, worker = line.decode().split(" ", 2)
        return Drop(TaskId(task_id), int(attempt), WorkerId(worker))
    except ValueError:
        return None


def held_of(reply: Reply) -> list[Held]:
    """From inherit.lua, without its first value: four values per lease."""
    values = iter(reply)
    return [
        Held(TaskId(text_of(task_id)), int(attempt), WorkerId(text_of(worker)), Digest(text_of(digest)))
        for task_id, attempt, worker, digest in zip(values, values, values, values, strict=True)
    ]


def settle_arguments(
    dispatcher: str, settlements: Sequence[Settlement], retention_s: float, noise: float
) -> list[Argument]:
    """For settle.lua.  ``noise``: random, 0 to 1.  ValueError for a move that settles nothing, or lacks what it has to bring."""
    arguments: list[Argument] = [dispatcher, int(retention_s * 1000), MAX_LOST_WORKERS, noise]
    for settlement in settlements:
        kind, blob = _ending(settlement)
        outcome = settlement.outcome
        printed = b"" if outcome is None else outcome.printed
        check = "" if outcome is None or outcome.checksum is None else outcome.checksum
        types = "" if outcome is None or outcome.failure is None else "\n".join(outcome.failure.types)
        arguments += (settlement.task_id, settlement.attempt, str(settlement.move), kind, blob, printed, check, types)
    return arguments


def settlement_bytes(settlement: Settlement) -> int:
    """About how much of it travels."""
    outcome = settlement.outcome
    if outcome is None:
        return 0
    if outcome.value is not None:
        return len(outcome.value) + len(outcome.printed)
    failure = outcome.failure
    text = len(failure.exception or b"") + len(failure.traceback) if failure else 0
    return text + len(outcome.printed)


def _ending(settlement: Settlement) -> tuple[str, bytes]:
    """How the attempt ended, as a word, and what is kept should the task end with it."""
    move, outcome = settlement.move, settlement.outcome
    if move is Move.GIVE_BACK:
        return "", b""
    if move is Move.LOSE_WORKER:
        return FailureKind.WORKER_LOST, _encode_failure(_lost(settlement.worker))
    if move is Move.SUCCEED and outcome is not None and outcome.value is not None:
        return COMPLETED, outcome.value
    if move in (Move.FAIL, Move.CRASH, Move.OOM) and outcome is not None and outcome.failure is not None:
        return outcome.failure.kind, _encode_failure(outcome.failure)
    raise ValueError(f"task {settlement.task_id}: {move} cannot be settled with outcome {outcome}")


def _lost(worker: WorkerId) -> Failure:
    text = f"worker {worker} was lost while it had this task, and the task may not be started again"
    return Failure(FailureKind.WORKER_LOST, "WorkerLost", text)


def text_of(value: bytes | int) -> str:
    """Damaged text stays text: it fits nothing that anybody knows, and that is how it is dealt with."""
    return bytes_of(value).decode(errors="replace")


def bytes_of(value: bytes | int) -> bytes:
    assert isinstance(value, bytes)
    return value
