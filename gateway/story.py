"""Core: the story of one task, told from its record and from what the record of moves still has of it.

Theory of operation. The task's own record is kept as long as the task: it tells of the submit, of each attempt with its worker,
and of the end. The stream tells more (work given back, a takeover, a wait for its time, the death of a worker) and is kept for the
newest moves only. Its beginning is what goes first: so where it still has the submit it has everything, and else the record
tells what is missing. A move that both tell of is told once. A move that a worker's death caused is preceded by that death, where
a supervisor saw it. A fault that somebody has injected on purpose stands where it was, by its own time.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from regrow.actors.happenings import ChildEvent, Event, FaultEvent, TaskEvent
from regrow.actors.records import COMPLETED
from regrow.actors.task import FINAL, Attempt, Failure, FailureKind, Move, State, TaskRecord

SAME_S: Final = 0.05  # a script reads the time twice: for the task and for the stream
DEATH_S: Final = (
    15.0  # between a worker's death and the loss of its tasks, at most: its window of silence, and clocks that differ
)
FAULT_S: Final = 1.0  # after the end of an attempt, in which a fault may be said to have been: clocks differ
SUBMIT: Final = "submit"
FAULT: Final = "fault"
WORKER_DOWN: Final = "worker_down"
BY_WORKER: Final = frozenset({Move.LOSE_WORKER.value, Move.GIVE_UP.value})
AGAIN: Final[Mapping[str, Move]] = {
    FailureKind.RAISED: Move.RETRY,
    FailureKind.OOM: Move.OOM,
    FailureKind.WORKER_LOST: Move.LOSE_WORKER,
}
LAST: Final[Mapping[str, Move]] = {
    FailureKind.CRASHED: Move.GIVE_UP,
    FailureKind.QUARANTINED: Move.GIVE_UP,
    FailureKind.OOM: Move.GIVE_UP,
    FailureKind.WORKER_LOST: Move.GIVE_UP,
    FailureKind.CANCELLED: Move.CANCEL,
    FailureKind.EXPIRED: Move.EXPIRE,
}
WORDS: Final[Mapping[str, str]] = {
    SUBMIT: "submitted, and queued",
    "due": "its time has come: queued",
    Move.CLAIM: "attempt {attempt} given to {worker}",
    Move.SUCCEED: "its function returned: COMPLETED",
    Move.FAIL: "attempt {attempt} ended: FAILED ({why}){failure}",
    Move.RETRY: "attempt {attempt} raised an exception: queued again, for later",
    Move.CRASH: "the process that ran attempt {attempt} died: queued again",
    Move.OOM: "attempt {attempt} was killed for want of memory: queued again, for later",
    Move.LOSE_WORKER: "attempt {attempt} was lost with its worker: queued again",
    Move.GIVE_BACK: "attempt {attempt} was given back unstarted: queued again",
    Move.GIVE_UP: "attempt {attempt} was the last: FAILED ({why}){failure}",
    Move.CANCEL: "cancelled: FAILED",
    Move.EXPIRE: "ended before it could start: FAILED ({why}){failure}",
    "inherit": "taken over from dispatcher {why}, which had fallen silent",
    "found": "it was where nobody looked, by damage of the store: put back",
}


class Line(msgspec.Struct, frozen=True):
    """One event. ``at``: Unix seconds. ``move``: a move's name, "submit", "due", "inherit", "found", "worker_down" or "fault"."""

    at: float
    move: str
    attempt: int
    worker: str
    why: str
    text: str


def story(record: TaskRecord, events: Iterable[Event]) -> list[Line]:
    """What happened to the task, in order. ``events`` are those of the stream that may have to do with it."""
    told = list(events)
    moves = [event for event in told if isinstance(event, TaskEvent) and event.task_id == record.task_id]
    deaths = [event for event in told if isinstance(event, ChildEvent) and event.event == "child.down"]
    lines: list[Line] = []
    for move in _joined(from_record(record), moves):
        death = _death(move, deaths) if move.move in BY_WORKER else None
        if death is not None:
            lines.append(_last_breath(move, death))
        lines.append(_line(move, record.failure))
    for fault in told:
        if isinstance(fault, FaultEvent) and (attempt := _hit(fault, record.attempts)) is not None:
            place = next((place for place, line in enumerate(lines) if line.at > fault.at), len(lines))
            lines.insert(place, _harm(fault, attempt))
    return lines


def has_submit(record: TaskRecord, events: Iterable[Event]) -> bool:
    """Whether ``events`` reach back to the task's beginning, and so have all of it."""
    return any(
        isinstance(event, TaskEvent) and event.task_id == record.task_id and event.move == SUBMIT for event in events
    )


def _hit(fault: FaultEvent, attempts: Sequence[Attempt]) -> Attempt | None:
    """The attempt whose worker was harmed, or a slot of it, while it ran there."""
    for attempt in attempts:
        name, _, rest = attempt.worker.partition("@")
        is_there = fault.host == rest.partition("/")[0] and name in fault.target.split("/")
        until = math.inf if attempt.ended_at is None else attempt.ended_at + FAULT_S
        if is_there and attempt.started_at - SAME_S <= fault.at <= until:
            return attempt
    return None


def _harm(fault: FaultEvent, attempt: Attempt) -> Line:
    detail = f": {fault.detail}" if fault.detail else ""
    text = f"somebody's fault on purpose, {fault.fault} of {fault.target}, was {fault.phase}{detail}"
    return Line(fault.at, FAULT, attempt.number, attempt.worker, fault.fault, text)


def from_record(record: TaskRecord) -> list[TaskEvent]:
    """What the task's own record tells."""
    moves = [TaskEvent(record.submitted_at, record.task_id, SUBMIT, 0, "", "")]
    for attempt in record.attempts:
        moves.append(TaskEvent(attempt.started_at, record.task_id, Move.CLAIM, attempt.number, attempt.worker, ""))
        if attempt.ended_at is not None:
            moves.append(_end(record, attempt, attempt.ended_at))
    has_ended = any(attempt.ended_at == record.finished_at for attempt in record.attempts)
    if record.status in FINAL and record.finished_at is not None and not has_ended:
        why = record.failure.kind if record.failure is not None else ""
        number = record.attempts[-1].number if record.attempts else 0
        moves.append(TaskEvent(record.finished_at, record.task_id, LAST.get(why, Move.EXPIRE), number, "", why))
    return moves


def _end(record: TaskRecord, attempt: Attempt, at: float) -> TaskEvent:
    """How an attempt ended, as a move."""
    why = attempt.outcome
    if at != record.finished_at:
        move = AGAIN.get(why, Move.CRASH)
    elif record.status is State.COMPLETED or why == COMPLETED:
        move = Move.SUCCEED
    else:
        why = record.failure.kind if record.failure is not None else why
        move = LAST.get(why, Move.FAIL)
    return TaskEvent(at, record.task_id, move, attempt.number, attempt.worker, why)


def _joined(recorded: Sequence[TaskEvent], streamed: Sequence[TaskEvent]) -> list[TaskEvent]:
    """Both, each move once; the stream's word counts."""
    if any(move.move == SUBMIT for move in streamed):
        return list(streamed)
    missing = [move for move in recorded if not any(_is_same(move, other) for other in streamed)]
    return sorted([*missing, *streamed], key=lambda move: move.at)


def _is_same(one: TaskEvent, other: TaskEvent) -> bool:
    if one.move in (SUBMIT, Move.CLAIM) or other.move in (SUBMIT, Move.CLAIM):
        return (one.move, one.attempt) == (other.move, other.attempt)
    return one.attempt == other.attempt and abs(one.at - other.at) <= SAME_S


def _death(move: TaskEvent, deaths: Sequence[ChildEvent]) -> ChildEvent | None:
    """The end of the worker that had the task: the nearest in time of that name on that machine."""
    name, _, rest = move.worker.partition("@")
    host = rest.partition("/")[0]
    near = [
        death
        for death in deaths
        if death.path.endswith(f"/{name}") and death.host == host and abs(death.at - move.at) <= DEATH_S
    ]
    return min(near, key=lambda death: abs(death.at - move.at), default=None)


def _last_breath(move: TaskEvent, death: ChildEvent) -> Line:
    text = f"its worker {death.path} (process {death.pid}) died: {death.reason}"
    return Line(death.at, WORKER_DOWN, move.attempt, move.worker, death.reason, text)


def _line(move: TaskEvent, failure: Failure | None) -> Line:
    is_told = failure is not None and failure.kind == move.why
    words = f": {failure.type}: {failure.message}" if failure is not None and is_told else ""
    template = WORDS.get(move.move, move.move)
    text = template.format(attempt=move.attempt, worker=move.worker, why=move.why, failure=words)
    return Line(move.at, move.move, move.attempt, move.worker, move.why, text)
