"""Values: a task, its states, and how it can end.

::

    QUEUED ──CLAIM──▶ RUNNING ──SUCCEED──▶ COMPLETED
     ▲  │                │
     │  │                ├──FAIL, GIVE_UP, CANCEL──▶ FAILED
     │  └─CANCEL, EXPIRE─┼──────────────────────────▶ FAILED
     └───────────────────┴─ RETRY, CRASH, OOM, LOSE_WORKER, GIVE_BACK

``TRANSITIONS`` is the whole truth; the store's scripts enforce the same moves atomically, fenced by attempt and owner.
"""

from enum import StrEnum
from typing import Final, NewType

import msgspec

from regrow.actors.limits import NO_OPTIONS, NO_TERMS, Limits, Options, Terms
from regrow.runtime.errors import InvalidTransition

TaskId = NewType("TaskId", str)  # UUID4 text
FunctionId = NewType("FunctionId", str)  # UUID4 text
Digest = NewType("Digest", str)  # hex SHA-256 of a function's bytes
WorkerId = NewType("WorkerId", str)  # one incarnation of one worker: "worker-0@host/3f9c21aa"

MAX_ATTEMPTS: Final = 3  # deaths of its slot before a task is quarantined
MAX_LOST_WORKERS: Final = 10  # workers lost under a task before it ends worker_lost
RETENTION_S: Final = 24 * 3600.0  # how long an ended task is kept


class State(StrEnum):
    """Where a task stands, in the words of the REST API."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class Move(StrEnum):
    """What can happen to a task."""

    CLAIM = "claim"  # a dispatcher takes it: attempt + 1, owner set
    SUCCEED = "succeed"  # its function returned
    FAIL = "fail"  # its function raised, or its payload or value cannot travel
    RETRY = "retry"  # its function raised, and its retry policy has it tried again, later
    CRASH = "crash"  # its slot died and it may run again
    OOM = "oom"  # it was killed for want of memory on the machine, and may run again, later
    LOSE_WORKER = "lose_worker"  # its worker was lost and it may run again
    GIVE_BACK = "give_back"  # it was claimed but never started
    GIVE_UP = "give_up"  # it has died too often, or must not run again
    CANCEL = "cancel"  # somebody wants it no more
    EXPIRE = "expire"  # it has not been started in time, or its deadline came while it was queued


TRANSITIONS: Final = {
    (State.QUEUED, Move.CLAIM): State.RUNNING,
    (State.QUEUED, Move.CANCEL): State.FAILED,
    (State.QUEUED, Move.EXPIRE): State.FAILED,
    (State.RUNNING, Move.SUCCEED): State.COMPLETED,
    (State.RUNNING, Move.FAIL): State.FAILED,
    (State.RUNNING, Move.GIVE_UP): State.FAILED,
    (State.RUNNING, Move.CANCEL): State.FAILED,
    (State.RUNNING, Move.RETRY): State.QUEUED,
    (State.RUNNING, Move.CRASH): State.QUEUED,
    (State.RUNNING, Move.OOM): State.QUEUED,
    (State.RUNNING, Move.LOSE_WORKER): State.QUEUED,
    (State.RUNNING, Move.GIVE_BACK): State.QUEUED,
}
FINAL: Final = frozenset(State) - {state for state, _ in TRANSITIONS}


def after(state: State, move: Move, story: str = "") -> State:
    """The state that ``move`` leads to.  Raises InvalidTransition, with ``story``, for a move the table does not have."""
    try:
        return TRANSITIONS[state, move]
    except KeyError:
        raise InvalidTransition(f"no move {move} from {state}{': ' + story if story else ''}") from None


class FailureKind(StrEnum):
    """Why a task FAILED: a closed list, part of the API."""

    RAISED = "raised"  # the function's own exception
    UNPICKLABLE = "unpicklable"  # the value or the exception cannot travel
    UNLOADABLE = "unloadable"  # the function or its parameters do not load
    CORRUPT_PAYLOAD = "corrupt_payload"
    CRASHED = "crashed"  # its slot died, and it may not run again
    QUARANTINED = "quarantined"  # its slot died max_attempts times
    OOM = "oom"
    TIMED_OUT = "timed_out"
    LIMIT = "limit"
    WORKER_LOST = "worker_lost"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DEPENDENCY_FAILED = "dependency_failed"


class Failure(msgspec.Struct, frozen=True):
    """Why a task failed, as data. ``exception`` is the pickled exception, where it can be pickled."""

    kind: FailureKind
    type: str
    message: str
    traceback: str = ""
    exception: bytes | None = None
    types: tuple[str, ...] = ()  # of an exception: its class and the bases of that, for retry policies


class Attempt(msgspec.Struct, frozen=True):
    """One claim of a task. Times are the store's clock, Unix seconds; ``outcome`` is "completed", a failure kind, or ""."""

    number: int
    worker: str
    started_at: float
    ended_at: float | None = None
    outcome: str = ""


class TaskRecord(msgspec.Struct, frozen=True):
    """A task as the store has it. ``value`` is the pickled return value, ``None`` unless COMPLETED (and asked for)."""

    task_id: TaskId
    function_id: FunctionId
    status: State
    submitted_at: float
    finished_at: float | None = None
    attempts: tuple[Attempt, ...] = ()
    value: bytes | None = None
    failure: Failure | None = None
    printed: bytes | None = None  # what the last attempt wrote to its standard output and error


class NewTask(msgspec.Struct, frozen=True):
    """A task to be submitted; its id is made by the submitter, so that a repeated submit is the same submit.

    ``body`` is a digest of the rest but the function, where the id is made from an idempotency key: the same id with another
    body, or another function's bytes, is refused.
    """

    task_id: TaskId
    function_id: FunctionId
    params: bytes  # pickle of ((args...), {kwargs})
    max_attempts: int | None = None  # None: the function's
    body: bytes = b""
    checksum: int | None = None  # CRC-32 of ``params``
    options: Options = NO_OPTIONS


class FunctionRecord(msgspec.Struct, frozen=True):
    """A registered function. ``payload`` is the official base64 text; ``digest`` is of the bytes it stands for."""

    function_id: FunctionId
    name: str
    payload: str
    digest: Digest
    size_bytes: int
    registered_at: float
    max_attempts: int = MAX_ATTEMPTS
    modules: tuple[str, ...] = ()  # modules that its pickle refers to by name
    terms: Terms = NO_TERMS
    ttl_s: float | None = None  # seconds without a call after which it is deleted


class Claimed(msgspec.Struct, frozen=True):
    """A task that a dispatcher has taken for one worker."""

    task_id: TaskId
    attempt: int
    worker: WorkerId
    digest: Digest
    params: bytes
    checksum: int | None = None  # CRC-32 of ``params``
    may_run_again: bool = True  # should its slot or worker die
    limits: Limits | None = None  # the task's own over its function's
    deadline_s: float | None = None  # seconds from the claim


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one attempt ended, as its worker saw it.

    Exactly one of ``value`` and ``failure`` is set. ``ran_s`` is the time that the slot spent on it, in seconds.
    ``value`` is the pickled return value, ``checksum`` its CRC-32, ``printed`` what it wrote to its standard output and
    error, cut in the middle. ``is_victim``: it was killed for want of memory on the machine, and not for its own limit.
    """

    task_id: TaskId
    attempt: int
    value: bytes | None = None
    failure: Failure | None = None
    ran_s: float = 0.0
    printed: bytes = b""
    checksum: int | None = None
    is_victim: bool = False


class Settlement(msgspec.Struct, frozen=True):
    """What a dispatcher asks the store to write about one claim. ``outcome`` goes with SUCCEED, FAIL and CRASH."""

    task_id: TaskId
    attempt: int
    move: Move  # one of records.SETTLING; the store turns it into GIVE_UP or RETRY where a limit or a policy says so
    worker: WorkerId
    outcome: Outcome | None = None


class Drop(msgspec.Struct, frozen=True):
    """A task that was cancelled while ``worker`` had it, under this attempt."""

    task_id: TaskId
    attempt: int
    worker: WorkerId


class Verdict(StrEnum):
    """The store's answer to one settlement."""

    STORED = "stored"  # the task has ended
    REQUEUED = "requeued"  # the task is QUEUED again, at the front
    STALE = "stale"  # the claim was no longer current: nothing changed
    VANISHED = "vanished"  # there is no such record any more


class WorkerRecord(msgspec.Struct, frozen=True):
    """A registered worker, as its dispatcher reports it once a second. ``last_beat`` is Unix seconds."""

    worker_id: WorkerId
    name: str
    host: str
    pid: int
    mode: str
    slots: int
    busy: int
    last_beat: float
    python: str
    dill: str
    is_draining: bool = False
    dispatcher: str = ""
    path: str = ""  # place in its own supervision tree, "" when it has none
    busy_slots: list[int] = []  # the numbers of those at work
