"""Values: a task as the model of the store keeps it, and who is told of its moves."""

from typing import NamedTuple, Protocol

import msgspec

from regrow.actors.limits import Limits, Retry
from regrow.actors.task import Digest, Move, State, TaskId, WorkerId

NOBODY = WorkerId("")


class Submission(NamedTuple):
    """A new task, as a client submits it.  Times are seconds from the submit."""

    task_id: TaskId
    digest: Digest
    params: bytes
    limit: int
    retry: Retry | None = None
    limits: Limits | None = None
    delay_s: float = 0.0
    expires_s: float | None = None
    deadline_s: float | None = None


class Record(msgspec.Struct):
    """The fields that the scripts read and write; times are the store's milliseconds."""

    task_id: TaskId
    digest: Digest
    params: bytes
    limit: int
    retry: Retry | None = None
    limits: Limits | None = None
    status: State = State.QUEUED
    attempt: int = 0
    owner: str = ""
    worker: WorkerId = NOBODY
    inherited: bool = False
    deaths: int = 0
    lost: int = 0
    ooms: int = 0
    retried: int = 0
    last: Move | None = None
    expires: int | None = None
    deadline: int | None = None
    kind: str = ""  # of the end
    value: bytes | None = None


class Observer(Protocol):
    """Sees every move of a task, in the moment in which it is made."""

    def moved(self, record: Record, move: Move, attempt: int, kind: str = "", value: bytes | None = None) -> None:
        """After it was made."""
        ...

    def inherited(self, record: Record, former: str) -> None:
        """Its lease has another owner."""
        ...
