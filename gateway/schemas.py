"""Values: the bodies that the REST API is asked with: the one place where outside data gets its types.

The same schemas serve JSON and msgpack.  A field of ``Binary`` type is base64 text in JSON (plain or wrapped into
lines) and raw bytes in msgpack.  Durations are float seconds (``_s``), times Unix seconds, sizes bytes.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.json_schema import models_json_schema
from pydantic_core import PydanticCustomError

from regrow.actors.happenings import Phase

MAX_BATCH: Final = 10_000  # tasks per request
MAX_WAIT_S: Final = 60.0  # longest long poll; a longer wish is answered after this
NOT_YET: Final = ("priority",)
LONGEST_S: Final = 366 * 24 * 3600.0

Binary = Annotated[
    str | bytes,
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "description": "base64 text; raw bytes in msgpack"}),
]
Name = Annotated[str, Field(min_length=1, max_length=200)]
MaxAttempts = Annotated[
    int | None,
    Field(
        strict=True, ge=1, le=100, description="deaths of its slot before a task is given up; 1: never started twice"
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=200,
        description="the same key with the same function (its bytes), payload and options is the same task, submitted once; with "
        "others it is refused (idempotency_conflict). It is kept as long as the task",
    ),
]
Duration = Annotated[float | None, Field(strict=True, gt=0, le=LONGEST_S, allow_inf_nan=False)]
Pause = Annotated[float, Field(strict=True, ge=0, le=LONGEST_S, allow_inf_nan=False)]
ExceptionNames = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=200)]],
    Field(max_length=100, description="names of exception classes, with their module or without; subclasses count"),
]
TaskText = Annotated[  # a third of the cost of UUID, and there may be thousands
    str,
    StringConstraints(to_lower=True, pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"),
    WithJsonSchema({"type": "string", "format": "uuid"}),
]
M = TypeVar("M", bound="Body")


class Body(BaseModel):
    """Base of all bodies: an unknown field is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class RegisterFunction(Body):
    """POST /register_function."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "double", "payload": "gASVGwAAAAAA...=="}]}
    )
    name: Name
    payload: Binary


class ExecuteFunction(Body):
    """POST /execute_function. The payload is the pickle of ``((args...), {kwargs})``."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"function_id": "0e37df36-f698-11e6-8dd4-cb9ced3df976", "payload": "gASVCQAAAAAAAABLAYV9lIaULg=="}
            ]
        },
    )
    function_id: UUID
    payload: Binary


class Limits(Body):
    """What one attempt of a task may use, with all that it starts; what is not given is not limited."""

    wall_s: Duration = None
    cpu_s: Duration = None
    memory_bytes: Annotated[int | None, Field(strict=True, ge=1, le=2**50, description="of data; above it: oom")] = None
    output_bytes: Annotated[
        int | None, Field(strict=True, ge=0, le=2**40, description="of the pickled value; of what is printed")
    ] = None
    open_files: Annotated[
        int | None, Field(strict=True, ge=1, le=2**20, description="descriptors, besides the slot's own")
    ] = None
    file_bytes: Annotated[
        int | None, Field(strict=True, ge=0, le=2**50, description="of any one file that is written")
    ] = None
    processes: Annotated[
        int | None, Field(strict=True, ge=0, le=2**20, description="alive at once, besides the slot")
    ] = None


class Retry(Body):
    """When a task that raised is tried again: after ``backoff_s * factor ** (n - 1)`` seconds for retry n.

    A task with ``max_attempts`` 1 is never started twice, and so never tried again.
    """

    count: Annotated[int, Field(strict=True, ge=0, le=1000)]
    backoff_s: Pause = 1.0
    factor: Annotated[float, Field(strict=True, ge=1, le=100, allow_inf_nan=False)] = 2.0
    max_backoff_s: Pause = 300.0
    jitter: Annotated[
        float, Field(strict=True, ge=0, le=1, allow_inf_nan=False, description="part of the delay, up or down")
    ] = 0.2
    retry_on: ExceptionNames = []
    dont_retry: ExceptionNames = []


class NewFunction(RegisterFunction):
    """POST /v1/functions. ``ttl_s``: seconds without a call after which it is deleted."""

    max_attempts: MaxAttempts = None
    limits: Limits | None = None
    retry: Retry | None = None
    ttl_s: Duration = None


class NewTask(ExecuteFunction):
    """One task of POST /v1/tasks. ``max_attempts``: by default the function's; ``limits``: over the function's, one by one.

    In seconds from now: ``delay_s``, not to be started before; ``expires_s``, not to be started for the first time after;
    ``deadline_s``, to have ended by then.
    """

    max_attempts: MaxAttempts = None
    idempotency_key: IdempotencyKey = None
    limits: Limits | None = None
    delay_s: Pause | None = None
    expires_s: Duration = None
    deadline_s: Duration = None

    @field_validator("expires_s", "deadline_s")
    @classmethod
    def leaves_time_to_start(cls, value: float | None, info: ValidationInfo) -> float | None:
        """A time that is over when the delay is makes a task that can never start."""
        delay_s = info.data.get("delay_s")
        if value is not None and delay_s is not None and value <= delay_s:
            raise PydanticCustomError("too_early", "Input should be greater than delay_s, or the task never starts")
        return value


class NewTasks(Body):
    """POST /v1/tasks. Each task is accepted or refused by itself."""

    tasks: Annotated[
        list[Any], Field(max_length=MAX_BATCH, json_schema_extra={"items": {"$ref": "#/components/schemas/NewTask"}})
    ]


class Wait(Body):
    """POST /v1/tasks/wait."""

    task_ids: Annotated[list[TaskText], Field(min_length=1, max_length=MAX_BATCH)]
    wait_s: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description=f"at most {MAX_WAIT_S:g}; more is taken as that")
    ] = 0.0


class Cancel(Body):
    """POST /v1/tasks/cancel."""

    task_ids: Annotated[list[TaskText], Field(min_length=1, max_length=MAX_BATCH)]
    only_queued: Annotated[bool, Field(strict=True, description="what runs goes on")] = False


class Nothing(Body):
    """POST /v1/dead-letters/{task_id}/requeue."""


class Resize(Body):
    """PATCH /v1/pools/workers."""

    size: Annotated[int, Field(ge=1, le=1024)]


class Fault(Body):
    """POST /v1/events/faults. ``target``: the path of what is harmed, as GET /v1/tree has it; ``at``: Unix seconds, by default now."""

    fault: Name
    target: Annotated[str, Field(min_length=1, max_length=500)]
    phase: Phase
    at: Annotated[float | None, Field(strict=True, ge=0, le=1e11, allow_inf_nan=False)] = None
    detail: Annotated[str, Field(max_length=2000)] = ""


REQUESTS: Final[tuple[type[Body], ...]] = (
    RegisterFunction, ExecuteFunction, NewFunction, NewTask, NewTasks, Wait, Cancel, Nothing, Resize, Fault,
)  # fmt: skip
_ONE_TASK: Final = TypeAdapter(NewTask)
_ALL_TASKS: Final = TypeAdapter(list[NewTask])
Misfits = list[dict[str, str]]


class Misfit(Exception):
    """Data that does not fit its schema: where, and why."""

    def __init__(self, misfits: Misfits) -> None:
        super().__init__("; ".join(f"{misfit['field']}: {misfit['message']}" for misfit in misfits[:5]))
        self.misfits = misfits


def fit(model: type[M], data: object) -> M:
    """``data`` as a ``model``.  Raises Misfit."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise Misfit(list(_misfits(error))) from None


def fit_tasks(items: list[Any]) -> list[NewTask | Misfit]:
    """Each item by itself; the usual case, in which all of them fit, takes one step."""
    try:
        return list(_ALL_TASKS.validate_python(items))
    except ValidationError:
        return [_fit_task(item) for item in items]


def _fit_task(item: object) -> NewTask | Misfit:
    try:
        return _ONE_TASK.validate_python(item)
    except ValidationError as error:
        return Misfit(list(_misfits(error)))


def _misfits(error: ValidationError) -> Iterable[dict[str, str]]:
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        field = ".".join(map(str, detail["loc"])) or "body"
        is_later = detail["type"] == "extra_forbidden" and str(detail["loc"][-1]) in NOT_YET
        is_no_id = detail["type"] == "string_pattern_mismatch"  # the one pattern here is a UUID's
        message = "this version does not support this field" if is_later else detail["msg"]
        yield {"field": field, "message": "Input should be a valid UUID" if is_no_id else message}


def definitions() -> dict[str, Any]:
    """The JSON schemas of everything that can be asked, by name, for the OpenAPI document."""
    _, schema = models_json_schema(
        [(model, "validation") for model in REQUESTS], ref_template="#/components/schemas/{model}"
    )
    found: dict[str, Any] = schema["$defs"]
    return found
