"""Shell: what the gateway does, without HTTP: check, submit, read, wait, look at the tree.

It loads no payload. Answers are the store's: an id is returned only after the store has its task.
"""

import asyncio
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Final, TypeVar
from zlib import crc32

from regrow.actors import function
from regrow.actors.annals import Annals
from regrow.actors.astore import AsyncStore
from regrow.actors.cancellation import end
from regrow.actors.payload import SLOW_BYTES, PayloadError, check_function, check_params
from regrow.actors.readings import Counts
from regrow.actors.records import CancelVerdict, SubmitVerdict
from regrow.actors.settings import Settings
from regrow.actors.task import FINAL, FunctionId, FunctionRecord, NewTask, TaskId, TaskRecord, WorkerRecord
from regrow.gateway import schemas
from regrow.gateway.asked import options_of, wishes_of
from regrow.gateway.batching import Batcher
from regrow.gateway.body import too_large
from regrow.gateway.event_hub import Hub
from regrow.gateway.idempotency import body_of, shaped, task_id_of
from regrow.gateway.problems import ApiError, problem_of
from regrow.gateway.tree import Tree
from regrow.gateway.waiting import Waiting, Watch
from regrow.runtime.clock import wall
from regrow.runtime.errors import StoreUnavailable

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024  # of results in one answer, unless one alone is larger
FIRST_RECORDS: Final = 8  # read first, to learn how large this answer's results are
MAX_RECORDS: Final = 1000  # read at once
READY_WITHIN_S: Final = 2.0  # an answer from the store to /readyz, after which it counts as away
SUBMIT_AGAIN_S: Final = (0.05, 0.2, 0.5)  # pauses before a submit is repeated, while the store does not answer
SUBMIT_WITHIN_S: Final = 2.0  # since its first try, after which a submit is not repeated: whoever waits is told so
T = TypeVar("T")


class Service:
    """One gateway process's operations. ``start`` and ``stop`` it on the loop that uses it."""

    def __init__(self, settings: Settings, store: AsyncStore, tree: Tree) -> None:
        self.settings = settings
        self.tree = tree
        self.waiting = Waiting()
        self.events = Hub(Annals.connect(settings.redis_url))
        self._store = store
        self._following: asyncio.Task[None] | None = None
        self._submits: Batcher[NewTask, SubmitVerdict] = Batcher(self._store_tasks, weigh=lambda task: len(task.params))
        self._states: Batcher[TaskId, TaskRecord | None] = Batcher(lambda ids: store.read(ids, with_result=False))
        self._records: Batcher[TaskId, TaskRecord | None] = Batcher(lambda ids: store.read(ids, with_result=True))

    async def start(self) -> None:
        """Follow the store's hints. The store need not answer yet."""
        self._following = asyncio.create_task(self.waiting.follow(self._store.endings()), name="endings")

    async def stop(self) -> None:
        """Stop following, and close the store; within seconds, whether it answers or not."""
        if self._following is not None:
            await end(self._following)
        await self.events.close()
        await self._store.close()

    # Functions

    async def register(self, asked: schemas.RegisterFunction) -> tuple[FunctionRecord, tuple[str, ...]]:
        """Check and keep a function; its record, and warnings.  Raises PayloadError, ApiError, StoreUnavailable."""
        manifest = await aside(lambda: check_function(asked.payload), len(asked.payload))
        self._check_size(manifest.code)
        function_id = FunctionId(str(uuid.uuid4()))
        wishes = wishes_of(asked)
        record = function.record_of(manifest, function_id, asked.name, wall(), *wishes)
        await self._store.put_function(record, manifest.code)
        return record, manifest.warnings + wishes.warnings(self.settings.caps())

    async def forget(self, function_id: FunctionId) -> None:
        """Delete a function; its tasks that were accepted still run.  Raises ApiError."""
        if not await self._store.forget_function(function_id):
            raise _unknown_function(function_id)

    async def function(self, function_id: FunctionId) -> FunctionRecord:
        """A function's record.  Raises ApiError."""
        record = await self._store.get_function(function_id)
        if record is None:
            raise _unknown_function(function_id)
        return record

    async def functions(self, limit: int, after: FunctionId | None) -> list[FunctionRecord]:
        """At most ``limit`` records, oldest first, behind the one called ``after``."""
        return await self._store.list_functions(limit, after)

    # Tasks

    async def submit(self, items: Sequence[schemas.ExecuteFunction | schemas.Misfit]) -> list[TaskId | ApiError]:
        """One verdict per item.  Raises StoreUnavailable, and then none was answered."""
        size = sum(len(item.payload) for item in items if isinstance(item, schemas.ExecuteFunction))
        fresh = task_ids(len(items))
        checked = await aside(lambda: [self._checked(item, fresh) for item in items], size)
        new = [task for task in checked if isinstance(task, NewTask)]
        verdicts = iter(await self._submit(new))
        return [_answer(task, next(verdicts)) if isinstance(task, NewTask) else task for task in checked]

    async def _submit(self, new: list[NewTask]) -> list[SubmitVerdict]:
        """The store's verdicts. A task can end before they are here, so it is expected before it is sent.

        But one that was there before may have ended long ago.
        """
        self.waiting.expect(task.task_id for task in new)
        verdicts: list[SubmitVerdict] = []
        try:
            verdicts = await self._submits.do(new)
        finally:
            pairs = zip_longest(new, verdicts)
            self.waiting.forget([task.task_id for task, verdict in pairs if verdict is not SubmitVerdict.ACCEPTED])
        return verdicts

    async def _store_tasks(self, new: list[NewTask]) -> Sequence[SubmitVerdict]:
        """Submit, and again under the same ids while the store is away for a moment: a lost reply is then no lost answer."""
        clock = asyncio.get_running_loop().time
        first_at = clock()
        for pause_s in SUBMIT_AGAIN_S:
            try:
                return await self._store.submit(new, self.settings.max_queued)
            except StoreUnavailable:
                if clock() > first_at + SUBMIT_WITHIN_S:
                    raise
                await asyncio.sleep(pause_s)
        return await self._store.submit(new, self.settings.max_queued)

    async def submit_one(self, item: schemas.ExecuteFunction) -> TaskId:
        """Its id.  Raises ApiError, StoreUnavailable."""
        (verdict,) = await self.submit([item])
        if isinstance(verdict, ApiError):
            raise verdict
        return verdict

    async def submit_new(self, task: NewTask) -> TaskId:
        """Its id.  Raises ApiError, StoreUnavailable."""
        (verdict,) = await self._submit([task])
        found = _answer(task, verdict)
        if isinstance(found, ApiError):
            raise found
        return found

    def _checked(self, item: schemas.ExecuteFunction | schemas.Misfit, fresh: Iterator[TaskId]) -> NewTask | ApiError:
        if isinstance(item, schemas.Misfit):
            return problem_of(item)
        try:
            params = check_params(item.payload)
            self._check_size(params)
        except (PayloadError, ApiError) as error:
            return problem_of(error)
        function_id, checksum = FunctionId(str(item.function_id)), crc32(params)
        if not isinstance(item, schemas.NewTask):
            return NewTask(next(fresh), function_id, params, checksum=checksum)
        options = options_of(item)
        if item.idempotency_key is None:
            return NewTask(next(fresh), function_id, params, item.max_attempts, b"", checksum, options)
        task_id = task_id_of(item.idempotency_key)
        body = body_of(params, item.max_attempts, options)
        return NewTask(task_id, function_id, params, item.max_attempts, body, checksum, options)

    def _check_size(self, payload: bytes) -> None:
        if len(payload) > self.settings.max_payload_bytes:
            raise too_large(len(payload), self.settings.max_payload_bytes)

    async def task(self, task_id: TaskId, *, with_result: bool = True) -> TaskRecord:
        """A task as it is now.  Raises ApiError, StoreUnavailable."""
        (record,) = await (self._records if with_result else self._states).do([task_id])
        if record is None:
            raise ApiError(
                "unknown_task", f"task {task_id} was never submitted here, or ended so long ago that it was deleted"
            )
        return record

    async def cancel(self, ids: list[TaskId], *, only_queued: bool = False) -> list[CancelVerdict]:
        """End those that have not ended, or of these only those that wait.  Raises StoreUnavailable."""
        return await self._store.cancel(ids, self.settings.retention_s, only_queued=only_queued)

    async def ended_task(self, task_id: TaskId, wait_s: float) -> TaskRecord:
        """A task when it has ended, or as it is after ``wait_s`` seconds.  Raises ApiError, StoreUnavailable."""
        seen = await self._first_ended([task_id], wait_s) if wait_s > 0 else {}
        return seen.get(task_id) or await self.task(task_id)

    async def ended(self, ids: list[TaskId], wait_s: float) -> tuple[list[TaskRecord], list[TaskId]]:
        """Those that have ended, as soon as there are any, and those that do not exist; both empty after ``wait_s``.

        Not all that have ended need be in one answer: ``MAX_ANSWER_BYTES``.
        """
        seen = await self._first_ended(ids, wait_s)
        ended = [record for record in seen.values() if record is not None and record.status in FINAL]
        return ended, [task_id for task_id, record in seen.items() if record is None]

    async def _first_ended(self, ids: list[TaskId], wait_s: float) -> dict[TaskId, TaskRecord | None]:
        """Some of ``ids`` as they are when one of them has ended or does not exist, or when the time is over."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + min(wait_s, schemas.MAX_WAIT_S)
        with self.waiting.watch(ids) as watch:
            while True:
                seen = await self._look(watch)
                is_over = self.waiting.is_released or clock() >= deadline
                if is_over or any(record is None or record.status in FINAL for record in seen.values()):
                    return seen
                if not await watch.hinted(deadline - clock()):
                    watch.hint(watch.ids)  # a last look at all of them, in case a hint was lost

    async def _look(self, watch: Watch) -> dict[TaskId, TaskRecord | None]:
        """What the watch wants read, with results, as much as fits into one answer."""
        ids = watch.take()
        seen: dict[TaskId, TaskRecord | None] = {}
        size, count = 0, FIRST_RECORDS
        while len(seen) < len(ids) and size < MAX_ANSWER_BYTES:
            chunk = ids[len(seen) : len(seen) + count]
            seen |= zip(chunk, await self._records.do(chunk), strict=True)
            size = sum(len(record.value) for record in seen.values() if record is not None and record.value)
            count = max(
                1, min(MAX_RECORDS, (MAX_ANSWER_BYTES - size) * len(seen) // max(size, 1))
            )  # by their size so far
        unfinished = [task_id for task_id, record in seen.items() if record is not None and record.status not in FINAL]
        self.waiting.saw_unfinished(watch, unfinished)
        return seen

    # The tree and the store

    async def workers(self) -> list[WorkerRecord]:
        """Every registered worker."""
        return await self._store.workers()

    async def counts(self) -> Counts:
        """The store's totals."""
        return await self._store.counts()

    async def shortcomings(self) -> list[str]:
        """What keeps tasks from being run now; nothing when all is well."""
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                dispatchers, workers = await asyncio.gather(self._store.dispatchers(), self._store.workers())
        except (StoreUnavailable, TimeoutError) as error:
            return [f"the store does not answer: {error or 'no answer in time'}"]
        reasons = []
        if not any(dispatcher.is_alive for dispatcher in dispatchers):
            reasons.append("no dispatcher has beaten within 3 s")
        if all(worker.is_draining for worker in workers):
            reasons.append("no worker is registered that takes new tasks")
        return reasons


def _answer(task: NewTask, verdict: SubmitVerdict) -> TaskId | ApiError:
    match verdict:
        case SubmitVerdict.ACCEPTED | SubmitVerdict.REPEATED:
            return task.task_id
        case SubmitVerdict.CONFLICT:
            text = "this idempotency_key was used for another function, payload or options: take a new key"
            return ApiError("idempotency_conflict", f"{text}, or see what became of its task {task.task_id}")
        case SubmitVerdict.UNKNOWN_FUNCTION:
            return _unknown_function(task.function_id)
        case SubmitVerdict.DAMAGED_FUNCTION:
            text = "is damaged in the store: register it again, and use the new id"
            return ApiError("unknown_function", f"what is known of function {task.function_id} {text}")
        case SubmitVerdict.QUEUE_FULL:
            return ApiError("queue_full", "too many tasks wait already: send this one again later")


def _unknown_function(function_id: FunctionId) -> ApiError:
    return ApiError("unknown_function", f"function {function_id} is not registered here: register it first")


def task_ids(count: int) -> Iterator[TaskId]:
    """Fresh UUID4 texts, from one piece of randomness: uuid.uuid4 for each would be a fifth of a batch's cost."""
    noise = os.urandom(16 * count).hex()
    for at in range(0, len(noise), 32):
        yield shaped(noise[at : at + 32])


async def aside(check: Callable[[], T], size: int) -> T:
    """``check()``, in a thread when there is so much to check that the loop would stand still."""
    return await asyncio.to_thread(check) if size > SLOW_BYTES else check()
