"""Values: what the client sends to and reads from /v1, as msgpack with raw bytes.

Unknown fields are ignored, so that a newer gateway can be asked by an older client.
"""

from typing import Any, Final

import msgspec

from regrow.actors.limits import Limits, Retry
from regrow.actors.task import State


class FunctionRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """POST /v1/functions."""

    name: str
    payload: bytes
    max_attempts: int | None = None
    limits: Limits | None = None
    retry: Retry | None = None
    ttl_s: float | None = None


class FunctionAnswer(msgspec.Struct, frozen=True):
    """What a registration is answered with.  ``warnings`` are for people."""

    function_id: str
    digest: str = ""
    warnings: list[str] = []


class TaskRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """One task of POST /v1/tasks.  Under its key it is submitted once, however often it is sent."""

    function_id: str
    payload: bytes
    idempotency_key: str
    max_attempts: int | None = None
    limits: Limits | None = None
    delay_s: float | None = None
    expires_s: float | None = None
    deadline_s: float | None = None


class SubmitRequest(msgspec.Struct, frozen=True):
    """POST /v1/tasks."""

    tasks: list[TaskRequest]


class Problem(msgspec.Struct, frozen=True):
    """Why something was refused: of problem+json, and of one item of a batch.  ``code`` is stable."""

    code: str = "error"
    detail: str = ""
    title: str = ""
    status: int = 0


class Accepted(msgspec.Struct, frozen=True):
    """The answer to one task: an id, or why not."""

    task_id: str = ""
    error: Problem | None = None


class SubmitAnswer(msgspec.Struct, frozen=True):
    """The answers, in the order of the request."""

    tasks: list[Accepted]


class CancelRequest(msgspec.Struct, frozen=True):
    """POST /v1/tasks/cancel."""

    task_ids: list[str]
    only_queued: bool


class CancelAnswer(msgspec.Struct, frozen=True):
    """What became of the tasks that were to be cancelled: their ids, by that.

    ``cancelled``: now or before.  ``ended``: otherwise, before.  ``running``: they go on, since only queued ones were meant.
    ``unknown``: no task has this id (any more).
    """

    cancelled: list[str] = []
    ended: list[str] = []
    running: list[str] = []
    unknown: list[str] = []


class WaitRequest(msgspec.Struct, frozen=True):
    """POST /v1/tasks/wait."""

    task_ids: list[str]
    wait_s: float


class AttemptView(msgspec.Struct, frozen=True):
    """One start of a task.  Times are Unix seconds of the store's clock."""

    number: int
    worker: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    outcome: str | None = None


class ErrorView(msgspec.Struct, frozen=True):
    """Why a task FAILED.  ``exception`` is the pickled exception, ``None`` where it could not be pickled."""

    kind: str
    type: str = ""
    message: str = ""
    traceback: str = ""
    exception: bytes | None = None


class TaskView(msgspec.Struct, frozen=True):
    """A task as the gateway shows it.  ``result`` is the pickled value of a COMPLETED task."""

    task_id: str
    status: State
    function_id: str = ""
    attempts: list[AttemptView] = []
    submitted_at: float | None = None
    finished_at: float | None = None
    result: bytes | None = None
    error: ErrorView | None = None
    output: str = ""  # what its last attempt printed, cut in the middle where that was much

    @property
    def is_final(self) -> bool:
        """Has it ended?"""
        return self.status in {State.COMPLETED, State.FAILED}


class WaitAnswer(msgspec.Struct, frozen=True):
    """The tasks that have ended, and the ids that no task has (any more)."""

    tasks: list[TaskView]
    unknown: list[str] = []


class LineView(msgspec.Struct, frozen=True):
    """One event of a task's story.  ``at``: Unix seconds; ``text`` says it in words."""

    at: float
    move: str
    attempt: int = 0
    worker: str = ""
    why: str = ""
    text: str = ""


class StoryAnswer(msgspec.Struct, frozen=True):
    """What has happened to a task, in order.  Not ``complete``: of old moves only those in the task's own record are kept."""

    task_id: str
    status: State
    events: list[LineView]
    complete: bool = True


class LetterView(msgspec.Struct, frozen=True):
    """A dead letter: a failed task that regrow gave up, and that keeps its parameters.  ``attempts``: how often it was started."""

    task_id: str
    function_id: str = ""
    finished_at: float | None = None
    attempts: int = 0
    error: ErrorView | None = None


class LettersAnswer(msgspec.Struct, frozen=True):
    """A page of GET /v1/dead-letters, newest first."""

    dead_letters: list[LetterView]
    next: str | None = None


class RequeueAnswer(msgspec.Struct, frozen=True):
    """POST /v1/dead-letters/{id}/requeue: the new task."""

    task_id: str


class PurgeAnswer(msgspec.Struct, frozen=True):
    """DELETE of dead letters: how many there were."""

    purged: int


class WorkersAnswer(msgspec.Struct, frozen=True):
    """GET /v1/workers."""

    workers: list[dict[str, Any]]


class ResizeRequest(msgspec.Struct, frozen=True):
    """PATCH /v1/pools/workers."""

    size: int


encode: Final = msgspec.msgpack.Encoder().encode


def reader(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    """The decoder of one kind of answer."""
    return msgspec.msgpack.Decoder(kind)
