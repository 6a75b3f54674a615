"""Values: the bodies that the REST API answers with. Bytes are base64 text in JSON and raw in msgpack.

Times are Unix seconds of the store's clock. A tree is answered as ``regrow.runtime.tree.TreeNode``.
"""

from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from regrow.actors.limits import Limits, Retry
from regrow.actors.records import CancelVerdict
from regrow.actors.task import Attempt, FailureKind, FunctionRecord, State, TaskRecord, WorkerRecord
from regrow.actors.task import TaskId as TaskName
from regrow.gateway.story import Line
from regrow.runtime.tree import TreeNode


class Running(msgspec.Struct, frozen=True):
    """GET /."""

    message: str
    version: str
    openapi: str


class FunctionId(msgspec.Struct, frozen=True):
    """POST /register_function."""

    function_id: str


class TaskId(msgspec.Struct, frozen=True):
    """POST /execute_function."""

    task_id: str


class Status(msgspec.Struct, frozen=True):
    """GET /status/{task_id}."""

    task_id: str
    status: State


class TaskError(msgspec.Struct, frozen=True):
    """Why a task FAILED. ``exception`` is the pickled exception, null where it cannot be pickled."""

    kind: FailureKind
    type: str
    message: str
    traceback: str
    exception: bytes | None


class Result(msgspec.Struct, frozen=True):
    """GET /result/{task_id}. ``result`` is empty while unfinished, and the pickle of a text when FAILED."""

    task_id: str
    status: State
    result: bytes
    error: TaskError | None


class Task(msgspec.Struct, frozen=True):
    """A task. ``result`` is the pickled value of a COMPLETED task, ``error`` tells why it FAILED.

    ``output`` is what its last attempt wrote to standard output and error, cut in the middle where that was much.
    """

    task_id: str
    function_id: str
    status: State
    attempts: tuple[Attempt, ...]
    submitted_at: float
    finished_at: float | None
    result: bytes | None
    error: TaskError | None
    output: str = ""


class Story(msgspec.Struct, frozen=True):
    """GET /v1/tasks/{task_id}/story: what has happened to a task, in order.

    ``complete``: the record of all moves still reaches back to its submit; if it does not, old moves are those in the task's own record.
    """

    task_id: str
    status: State
    events: list[Line]
    complete: bool


class Ended(msgspec.Struct, frozen=True):
    """POST /v1/tasks/wait: those that have ended, and the ids that no task has (any more)."""

    tasks: list[Task]
    unknown: list[str]


class Cancelled(msgspec.Struct, frozen=True):
    """POST /v1/tasks/cancel: the ids of those that are cancelled, now or before; that had ended otherwise; that run and go
    on, since only queued ones were asked for; and that no task has (any more)."""

    cancelled: list[str]
    ended: list[str]
    running: list[str]
    unknown: list[str]


class Registered(msgspec.Struct, frozen=True):
    """POST /v1/functions. ``warnings`` are for people."""

    function_id: str
    digest: str
    warnings: tuple[str, ...]


class Function(msgspec.Struct, frozen=True):
    """A registered function. ``modules``: what its workers must be able to import. ``ttl_s``: deleted when unused for so long."""

    function_id: str
    name: str
    digest: str
    size_bytes: int
    registered_at: float
    max_attempts: int
    modules: tuple[str, ...]
    limits: Limits
    retry: Retry | None
    ttl_s: float | None


class Forgotten(msgspec.Struct, frozen=True):
    """DELETE /v1/functions/{function_id}."""

    function_id: str


class Letter(msgspec.Struct, frozen=True):
    """A dead letter: a failed task that keeps its parameters, to be looked at and queued again."""

    task_id: str
    function_id: str
    finished_at: float | None
    attempts: int
    error: TaskError | None


class Letters(msgspec.Struct, frozen=True):
    """A page of dead letters, newest first. ``next`` is the ``after`` of the next page, null at the end."""

    dead_letters: list[Letter]
    next: str | None


class Requeued(msgspec.Struct, frozen=True):
    """POST /v1/dead-letters/{task_id}/requeue: the new task."""

    task_id: str


class Purged(msgspec.Struct, frozen=True):
    """DELETE /v1/dead-letters: how many were thrown away."""

    purged: int


class Functions(msgspec.Struct, frozen=True):
    """A page of functions, oldest first. ``next`` is the ``after`` of the next page, null at the end."""

    functions: list[Function]
    next: str | None


class ItemError(msgspec.Struct, frozen=True):
    """Why one task of a batch was refused."""

    code: str
    title: str
    status: int
    detail: str


class Verdict(msgspec.Struct, frozen=True):
    """The answer to one task of a batch: the one field or the other."""

    task_id: str | UnsetType = UNSET
    error: ItemError | UnsetType = UNSET


class Submitted(msgspec.Struct, frozen=True):
    """POST /v1/tasks: one verdict per task, in their order."""

    tasks: list[Verdict]


class Workers(msgspec.Struct, frozen=True):
    """GET /v1/workers."""

    workers: list[WorkerRecord]


class Pool(msgspec.Struct, frozen=True):
    """PATCH /v1/pools/workers."""

    size: int


class Noted(msgspec.Struct, frozen=True):
    """POST /v1/events/faults: the id of its event."""

    id: str


class Chaos(msgspec.Struct, frozen=True):
    """GET /v1/chaos: whether faults may be injected here, and the tree's id, which is new each time that it is started."""

    allowed: bool
    tree: str


class Health(msgspec.Struct, frozen=True):
    """GET /healthz and /readyz. ``reasons`` say what is missing."""

    status: Literal["ok", "not_ready"]
    reasons: list[str]


class Problem(msgspec.Struct, frozen=True):
    """An error, by RFC 9457. ``code`` is stable, ``detail`` says what to do, ``errors`` lists fields that do not fit."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[dict[str, str]] | UnsetType = UNSET


ANSWERS: Final[tuple[type, ...]] = (
    Running, FunctionId, TaskId, Status, Result, Task, Story, Ended, Registered, Function, Functions, Submitted, Workers,
    TreeNode, Pool, Health, Problem, Forgotten, Letter, Letters, Requeued, Purged, Cancelled, Noted, Chaos,
)  # fmt: skip


def definitions() -> dict[str, Any]:
    """The JSON schemas of all answers, by name, for the OpenAPI document."""
    _, found = msgspec.json.schema_components(ANSWERS, ref_template="#/components/schemas/{name}")
    return found


def task(record: TaskRecord) -> Task:
    """A task as /v1 shows it."""
    return Task(
        record.task_id, record.function_id, record.status, record.attempts, record.submitted_at, record.finished_at,
        record.value, _error(record), (record.printed or b"").decode(errors="replace"),
    )  # fmt: skip


def cancelled(ids: list[TaskName], verdicts: list[CancelVerdict]) -> Cancelled:
    """What became of the wish to cancel these."""
    found: dict[str, list[str]] = {verdict: [] for verdict in CancelVerdict}
    for task_id, verdict in zip(ids, verdicts, strict=True):
        found[verdict].append(task_id)
    return Cancelled(**found)


def letter(record: TaskRecord) -> Letter:
    """A dead letter."""
    return Letter(record.task_id, record.function_id, record.finished_at, len(record.attempts), _error(record))


def result(record: TaskRecord) -> Result:
    """A task's result as the official call shows it."""
    value = record.value or b""
    if record.failure is not None:
        value = pickled_text(f"{record.failure.type}: {record.failure.message}")
    return Result(record.task_id, record.status, value, _error(record))


def _error(record: TaskRecord) -> TaskError | None:
    failure = record.failure
    if failure is None:
        return None
    return TaskError(failure.kind, failure.type, failure.message, failure.traceback, failure.exception)


def pickled_text(text: str) -> bytes:
    """``pickle.dumps(text, 4)``, written by hand: a text is one opcode, and the gateway has no pickle module."""
    raw = text.encode("utf-8", "surrogatepass")
    return b"\x80\x04X" + len(raw).to_bytes(4, "little") + raw + b"."


def function(record: FunctionRecord) -> Function:
    """A function as /v1 shows it."""
    return Function(
        record.function_id, record.name, record.digest, record.size_bytes, record.registered_at, record.max_attempts,
        record.modules, record.terms.limits, record.terms.retry, record.ttl_s,
    )  # fmt: skip
