"""Values: what goes into the store's scripts and what comes out of them, for both clients of the store.

Nothing here talks to a server: functions make argument lists, and values from replies.
"""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from regrow.actors.task import (
    MAX_LOST_WORKERS,
    Attempt,
    Claimed,
    Digest,
    Failure,
    FailureKind,
    FunctionId,
    Move,
    NewTask,
    Settlement,
    State,
    TaskId,
    TaskRecord,
    Verdict,
    WorkerId,
    WorkerRecord,
)
from regrow.actors.wire import BATCH_BYTES, BATCH_TASKS

SILENT_MS: Final = 3_000  # without a sign of life, after which a dispatcher's leases may be inherited
FORGET_MS: Final = 60_000  # of silence, after which a dispatcher without leases is forgotten
COMPLETED: Final = "completed"  # an attempt's outcome that is no failure

Reply = Sequence[bytes | int]
Argument = str | bytes | int | float
T = TypeVar("T")


class Share(msgspec.Struct, frozen=True):
    """What one worker can take: ``free`` tasks whatever they are, then known ones worth ``ahead_s`` seconds in sum."""

    worker: WorkerId
    free: int
    ahead_s: float


class Claim(msgspec.Struct, frozen=True):
    """Tasks taken, in the order of the queue; ``left`` tasks are still queued."""

    tasks: list[Claimed]
    left: int


class Held(msgspec.Struct, frozen=True):
    """A lease as the store has it."""

    task_id: TaskId
    attempt: int
    worker: WorkerId
    digest: Digest


class Pulse(msgspec.Struct, frozen=True):
    """The answer to a beat. ``silent``: dispatchers without a sign of life for 3 s that still hold leases."""

    queued: int
    silent: list[str]


class SubmitVerdict(StrEnum):
    """The store's answer to one new task."""

    ACCEPTED = "accepted"
    UNKNOWN_FUNCTION = "unknown_function"
    QUEUE_FULL = "queue_full"
    REPEATED = "repeated"  # it was accepted before
    CONFLICT = "conflict"  # another task was accepted before under its idempotency key


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


class Counts(msgspec.Struct, frozen=True):
    """Tasks now, and totals since the store was empty. ``failed`` is by kind, ``requeued`` by move."""

    queued: int
    running: int
    submitted: int
    completed: int
    failed: dict[str, int]
    requeued: dict[str, int]
    stale_results: int
    vanished: int


encode_dispatcher = msgspec.msgpack.Encoder().encode
decode_dispatcher = msgspec.msgpack.Decoder(DispatcherRecord).decode
encode_workers = msgspec.msgpack.Encoder().encode
decode_workers = msgspec.msgpack.Decoder(list[WorkerRecord]).decode
_encode_failure = msgspec.msgpack.Encoder().encode
_decode_failure = msgspec.msgpack.Decoder(Failure).decode
_decode_history = msgspec.msgpack.Decoder(list[tuple[int, str, int, int, str]]).decode

SUBMIT_VERDICTS: Final = dict(enumerate(SubmitVerdict, 1))  # in the order of the numbers that submit.lua answers
SETTLE_VERDICTS: Final = {1: Verdict.STORED, 2: Verdict.REQUEUED, 3: Verdict.STALE, 4: Verdict.VANISHED}
SETTLING: Final = frozenset({Move.SUCCEED, Move.FAIL, Move.CRASH, Move.LOSE_WORKER, Move.GIVE_BACK})


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
        arguments += (task.task_id, task.function_id, task.params, limit, task.body)
    return arguments


def claim_arguments(
    dispatcher: str, claim_id: str, shares: Sequence[Share], expected_s: dict[Digest, float], max_bytes: int
) -> list[Argument]:
    """For claim.lua.  Times go as whole microseconds, at least one."""
    free = sum(share.free for share in shares)
    may_go_ahead = bool(expected_s) and any(share.ahead_s > 0 for share in shares)
    most = BATCH_TASKS if may_go_ahead else min(free, BATCH_TASKS)
    arguments: list[Argument] = [dispatcher, claim_id, most, max_bytes, len(shares)]
    for share in shares:
        arguments += (share.worker, share.free, int(share.ahead_s * 1e6))
    for digest, run_s in expected_s.items():
        arguments += (digest, max(1, int(run_s * 1e6)))
    return arguments


def claim_of(reply: Reply) -> Claim:
    """From claim.lua: tasks still queued, then five values per task."""
    values = iter(reply[1:])
    tasks = [
        Claimed(TaskId(_text(task_id)), int(attempt), WorkerId(_text(worker)), Digest(_text(digest)), _bytes(params))
        for task_id, attempt, worker, digest, params in zip(values, values, values, values, values, strict=True)
    ]
    return Claim(tasks, int(reply[0]))


def held_of(reply: Reply) -> list[Held]:
    """From inherit.lua, without its first value: four values per lease."""
    values = iter(reply)
    return [
        Held(TaskId(_text(task_id)), int(attempt), WorkerId(_text(worker)), Digest(_text(digest)))
        for task_id, attempt, worker, digest in zip(values, values, values, values, strict=True)
    ]


def settle_arguments(dispatcher: str, settlements: Sequence[Settlement], retention_s: float) -> list[Argument]:
    """For settle.lua.  ValueError for a move that settles nothing, or that came without what it has to bring."""
    arguments: list[Argument] = [dispatcher, int(retention_s * 1000), MAX_LOST_WORKERS]
    for settlement in settlements:
        kind, blob = _ending(settlement)
        arguments += (settlement.task_id, settlement.attempt, str(settlement.move), kind, blob)
    return arguments


def settlement_bytes(settlement: Settlement) -> int:
    """About how much of it travels."""
    outcome = settlement.outcome
    if outcome is None:
        return 0
    if outcome.value is not None:
        return len(outcome.value)
    return len(outcome.failure.exception or b"") + len(outcome.failure.traceback) if outcome.failure else 0


def _ending(settlement: Settlement) -> tuple[str, bytes]:
    """How the attempt ended, as a word, and what is kept should the task end with it."""
    move, outcome = settlement.move, settlement.outcome
    if move is Move.GIVE_BACK:
        return "", b""
    if move is Move.LOSE_WORKER:
        return FailureKind.WORKER_LOST, _encode_failure(_lost(settlement.worker))
    if move is Move.SUCCEED and outcome is not None and outcome.value is not None:
        return COMPLETED, outcome.value
    if move in (Move.FAIL, Move.CRASH) and outcome is not None and outcome.failure is not None:
        return outcome.failure.kind, _encode_failure(outcome.failure)
    raise ValueError(f"task {settlement.task_id}: {move} cannot be settled with outcome {outcome}")


def _lost(worker: WorkerId) -> Failure:
    text = f"worker {worker} was lost while it had this task, and the task may not be started again"
    return Failure(FailureKind.WORKER_LOST, "WorkerLost", text)


TASK_FIELDS: Final = ("function", "status", "submitted", "finished", "history", "attempt", "worker", "started", "kind")
RESULT_FIELDS: Final = ("value", "failure")


def task_of(task_id: TaskId, reply: Sequence[bytes | None]) -> TaskRecord | None:
    """From HMGET of TASK_FIELDS, with or without RESULT_FIELDS; ``None`` when there is no such task."""
    function, status, submitted, finished, history, attempt, worker, started, kind, *result = reply
    if function is None or status is None or submitted is None:
        return None
    value, failure = result or (None, None)
    attempts = [Attempt(n, who, begun / 1000, ended / 1000, how) for n, who, begun, ended, how in _past(history)]
    if status == b"RUNNING" and worker is not None and started is not None and attempt is not None:
        attempts.append(Attempt(int(attempt), worker.decode(), int(started) / 1000))
    return TaskRecord(
        task_id=task_id,
        function_id=FunctionId(function.decode()),
        status=State(status.decode()),
        submitted_at=int(submitted) / 1000,
        finished_at=None if finished is None else int(finished) / 1000,
        attempts=tuple(attempts),
        value=value,
        failure=_failure(failure, kind),
    )


def _past(history: bytes | None) -> list[tuple[int, str, int, int, str]]:
    return [] if history is None else _decode_history(history)


def _failure(blob: bytes | None, kind: bytes | None) -> Failure | None:
    """The last attempt's failure, under the kind that the store decided on: ``quarantined``, say, for the last of many crashes."""
    if blob is None or kind is None:
        return None
    return msgspec.structs.replace(_decode_failure(blob), kind=FailureKind(kind.decode()))


def counts_of(counters: dict[bytes, bytes], queued: int, running: int) -> Counts:
    """From the hash of counters."""
    totals = {name.decode(): int(number) for name, number in counters.items()}
    return Counts(
        queued=queued,
        running=running,
        submitted=totals.get("submitted", 0),
        completed=totals.get("completed", 0),
        failed=_under("failed:", totals),
        requeued=_under("requeued:", totals),
        stale_results=totals.get("stale_results_total", 0),
        vanished=totals.get("vanished", 0),
    )


def _under(prefix: str, totals: dict[str, int]) -> dict[str, int]:
    return {name.removeprefix(prefix): number for name, number in totals.items() if name.startswith(prefix)}


def _text(value: bytes | int) -> str:
    return _bytes(value).decode()


def _bytes(value: bytes | int) -> bytes:
    assert isinstance(value, bytes)
    return value
