"""Values: what is kept in the store, as the gateway reads it: tasks, dead letters, totals.

Nothing here talks to a server, and nothing here raises on what it reads: what makes no sense was damaged from outside, and is
shown as that.
"""

from collections.abc import Sequence
from typing import Final
from zlib import crc32

import msgspec

from regrow.actors.limits import Limits
from regrow.actors.records import COMPLETED, DispatcherRecord
from regrow.actors.task import Attempt, Failure, FailureKind, FunctionId, State, TaskId, TaskRecord, WorkerRecord

_decode_failure = msgspec.msgpack.Decoder(Failure).decode
_decode_history = msgspec.msgpack.Decoder(list[tuple[int, str, int, int, str]]).decode
_decode_limits = msgspec.msgpack.Decoder(Limits).decode
_decode_dispatcher = msgspec.msgpack.Decoder(DispatcherRecord).decode
_decode_workers = msgspec.msgpack.Decoder(list[WorkerRecord]).decode


class Letter(msgspec.Struct, frozen=True):
    """What a dead letter was submitted with."""

    function_id: FunctionId
    params: bytes
    max_attempts: int
    checksum: int | None
    limits: Limits | None


class Counts(msgspec.Struct, frozen=True):
    """Tasks now, and totals since the store was empty. ``failed`` is by kind, ``requeued`` by move.

    ``queued`` tasks can start; ``scheduled`` ones, QUEUED as well, wait for their time.
    """

    queued: int
    scheduled: int
    running: int
    submitted: int
    completed: int
    failed: dict[str, int]
    requeued: dict[str, int]
    stale_results: int
    vanished: int
    damaged_records: int = 0
    damaged_frames: int = 0  # dropped by the dispatchers that there are, since the start of each
    found: dict[str, int] = {}  # by a search, in no queue and under no lease; put back


TASK_FIELDS: Final = ("function", "status", "submitted", "finished", "history", "attempt", "worker", "started", "kind")
RESULT_FIELDS: Final = ("value", "check", "failure", "printed")


def task_of(task_id: TaskId, reply: Sequence[bytes | None]) -> TaskRecord | None:
    """From HMGET of TASK_FIELDS, with or without RESULT_FIELDS; ``None`` when there is no such task.

    A record that makes no sense is FAILED, corrupt_payload, and so is a value that is not the one that was stored.
    """
    if reply[:3] == [None, None, None]:
        return None
    try:
        return _task(task_id, reply)
    except (ValueError, TypeError, AssertionError, OverflowError, msgspec.MsgspecError) as error:
        return _damaged(task_id, f"its record makes no sense: {error}")


def _task(task_id: TaskId, reply: Sequence[bytes | None]) -> TaskRecord:
    function, status, submitted, finished, history, attempt, worker, started, kind, *result = reply
    value, check, failure, printed = result or (None, None, None, None)
    attempts = [Attempt(n, who, begun / 1000, ended / 1000, how) for n, who, begun, ended, how in _past(history)]
    if status in (b"RUNNING", b"COMPLETED") and worker is not None and started is not None and attempt is not None:
        attempts.append(_newest(int(attempt), worker.decode(), int(started) / 1000, finished))
    if value is not None and check and crc32(value) != int(check):
        return _damaged(task_id, "the value is not the one that was stored", tuple(attempts))
    known_failure = _failure(failure, kind)
    if result and {b"COMPLETED": value, b"FAILED": known_failure}.get(_some(status), b"") is None:
        return _damaged(task_id, "what it came to is missing", tuple(attempts))
    return TaskRecord(
        task_id=task_id,
        function_id=FunctionId(_some(function).decode()),
        status=State(_some(status).decode()),
        submitted_at=int(_some(submitted)) / 1000,
        finished_at=None if finished is None else int(finished) / 1000,
        attempts=tuple(attempts),
        value=value,
        failure=known_failure,
        printed=printed,
    )


def _newest(number: int, worker: str, started_at: float, finished: bytes | None) -> Attempt:
    """One that is no failure: it runs, or its task has ended with it."""
    if finished is None:
        return Attempt(number, worker, started_at)
    return Attempt(number, worker, started_at, int(finished) / 1000, COMPLETED)


def _damaged(task_id: TaskId, what: str, attempts: tuple[Attempt, ...] = ()) -> TaskRecord:
    failure = Failure(
        FailureKind.CORRUPT_PAYLOAD, "DamagedRecord", f"{what}; the store's data were changed from outside"
    )
    return TaskRecord(task_id, FunctionId(""), State.FAILED, 0.0, attempts=attempts, failure=failure)


def _past(history: bytes | None) -> list[tuple[int, str, int, int, str]]:
    return [] if history is None else _decode_history(history)


def _failure(blob: bytes | None, kind: bytes | None) -> Failure | None:
    """The last attempt's failure, under the kind that the store decided on: ``quarantined``, say, for the last of many crashes."""
    if blob is None or kind is None:
        return None
    return msgspec.structs.replace(_decode_failure(blob), kind=FailureKind(kind.decode()))


def _some(value: bytes | None) -> bytes:
    assert value is not None
    return value


LETTER_FIELDS: Final = ("function", "params", "limit", "sum", "limits")


def letter_of(fields: Sequence[bytes | None]) -> Letter | None:
    """From HMGET of LETTER_FIELDS; ``None`` where the record has gone, or is damaged."""
    function, params, limit, checksum, limits = fields
    if function is None or params is None:
        return None
    try:
        own = _decode_limits(limits) if limits else None
        return Letter(
            FunctionId(function.decode()), params, int(limit or b""), int(checksum) if checksum else None, own
        )
    except (ValueError, msgspec.MsgspecError):
        return None


def dispatcher_of(blob: bytes) -> DispatcherRecord | None:
    """As ``encode_dispatcher`` wrote it; ``None`` where it is damaged, which its next beat mends."""
    try:
        return _decode_dispatcher(blob)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def workers_of(blob: bytes) -> list[WorkerRecord]:
    """As ``encode_workers`` wrote them; none where they are damaged, which their dispatcher's next beat mends."""
    try:
        return _decode_workers(blob)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []


def counts_of(counters: dict[bytes, bytes], queued: int, scheduled: int, running: int, damaged_frames: int) -> Counts:
    """From the hash of counters; ``queued`` is the length of the queue, with its ghosts."""
    totals = {name.decode(errors="replace"): _number(number) for name, number in counters.items()}
    return Counts(
        queued=max(0, queued - totals.get("ghosts", 0)),
        scheduled=scheduled,
        running=running,
        submitted=totals.get("submitted", 0),
        completed=totals.get("completed", 0),
        failed=_under("failed:", totals),
        requeued=_under("requeued:", totals),
        stale_results=totals.get("stale_results_total", 0),
        vanished=totals.get("vanished", 0),
        damaged_records=totals.get("damaged_records_total", 0),
        damaged_frames=damaged_frames,
        found=_under("found:", totals),
    )


def _number(text: bytes) -> int:
    """A damaged counter counts as 0; its next change starts it anew."""
    try:
        return int(text)
    except ValueError:
        return 0


def _under(prefix: str, totals: dict[str, int]) -> dict[str, int]:
    return {name.removeprefix(prefix): number for name, number in totals.items() if name.startswith(prefix)}
