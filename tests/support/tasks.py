"""Short ways to make functions, tasks and settlements for tests of the store."""

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from regrow.actors.astore import AsyncStore
from regrow.actors.claims import Share
from regrow.actors.records import Held, SubmitVerdict
from regrow.actors.store import Store
from regrow.actors.task import (
    Claimed,
    Digest,
    Failure,
    FailureKind,
    FunctionId,
    FunctionRecord,
    Move,
    NewTask,
    Options,
    Outcome,
    Settlement,
    TaskId,
    TaskRecord,
    WorkerId,
)

T = TypeVar("T")
WORKER = WorkerId("worker-0@host/1")


def ask(url: str, question: Callable[[AsyncStore], Awaitable[T]]) -> T:
    """One question to the asynchronous store, on a connection that is closed afterwards."""

    async def asked() -> T:
        store = AsyncStore.connect(url)
        try:
            return await question(store)
        finally:
            await store.close()

    return asyncio.run(asked())


def register(url: str, code: bytes = b"code", max_attempts: int = 3) -> FunctionId:
    """A new function's id."""
    record = FunctionRecord(
        FunctionId(str(uuid.uuid4())), "f", "Y29kZQ==", digest_of(code), len(code), 1.0, max_attempts
    )
    ask(url, lambda store: store.put_function(record, code))
    return record.function_id


def digest_of(code: bytes) -> Digest:
    """By what a function's bytes are known."""
    return Digest(hashlib.sha256(code).hexdigest())


def submit(
    url: str, function: FunctionId, *params: bytes, max_attempts: int | None = None, delay_s: float | None = None
) -> list[TaskId]:
    """New tasks' ids, in the order of the queue; all accepted."""
    options = Options(delay_s=delay_s)
    tasks = [NewTask(TaskId(str(uuid.uuid4())), function, each, max_attempts, options=options) for each in params]
    verdicts = ask(url, lambda store: store.submit(tasks, max_queued=1_000_000))
    assert verdicts == [SubmitVerdict.ACCEPTED] * len(tasks)
    return [task.task_id for task in tasks]


def read(url: str, *ids: TaskId) -> list[TaskRecord]:
    """Tasks that exist, with their results."""
    found = ask(url, lambda store: store.read(ids, with_result=True))
    assert None not in found
    return [record for record in found if record is not None]


def claim(store: Store, count: int, dispatcher: str = "a", worker: WorkerId = WORKER) -> list[Claimed]:
    """The next ``count`` tasks."""
    return store.claim(dispatcher, str(uuid.uuid4()), [Share(worker, count, 0.0)], {}, 1 << 30).tasks


def success(task: Claimed | Held, value: bytes = b"value") -> Settlement:
    """It returned."""
    return Settlement(task.task_id, task.attempt, Move.SUCCEED, task.worker, Outcome(task.task_id, task.attempt, value))


def failure(
    task: Claimed | Held, move: Move = Move.FAIL, kind: FailureKind = FailureKind.RAISED, message: str = "no"
) -> Settlement:
    """It raised, or its slot died."""
    outcome = Outcome(task.task_id, task.attempt, failure=Failure(kind, "ValueError", message, exception=b"\x80"))
    return Settlement(task.task_id, task.attempt, move, task.worker, outcome)


def crash(task: Claimed | Held, message: str = "SIGSEGV") -> Settlement:
    """Its slot died."""
    return failure(task, Move.CRASH, FailureKind.CRASHED, message)


def lost(task: Claimed | Held) -> Settlement:
    """Its worker was lost."""
    return Settlement(task.task_id, task.attempt, Move.LOSE_WORKER, task.worker)


def given_back(task: Claimed | Held) -> Settlement:
    """It was never started."""
    return Settlement(task.task_id, task.attempt, Move.GIVE_BACK, task.worker)
