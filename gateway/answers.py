"""Values: what the client sends to and reads from /v1, as msgpack with raw bytes.

Unknown fields are ignored, so that a newer gateway can be asked by an older client.
"""

from typing import Any, Final

import msgspec

from regrow.actors.task import State


class FunctionRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """POST /v1/functions."""

    name: str
    payload: bytes
    max_attempts: int | None = None


class FunctionAnswer(msgspec.Struct, frozen=True):
    """What a registration is answered with.  ``warnings`` are for people."""

    function_id: str
    digest: str = ""
    warnings: list[str] = []


class TaskRequest(msgspec.Struct, frozen=True):
    """One task of POST /v1/tasks.  Under its key it is submitted once, however often it is sent."""

    function_id: str
    payload: bytes
    idempotency_key: str


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
    """What has happened to a task, in order."""

    task_id: str
    status: State
    events: list[LineView]


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
