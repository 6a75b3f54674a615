"""Shell: one client's submits, in batches.

::

    any thread                 the client's event loop
      send ──▶ arrivals ──▶ register new functions ──▶ POST /v1/tasks ──▶ on_accepted
                            └──────── one batch at a time, in order ─────┘

Group commit: one submit call is under way at a time, and what is submitted meanwhile leaves together with the next one.
So a lone task leaves at once, a flood in batches, and a client's tasks are accepted in the order in which it sent them.
A batch ends at ``BATCH_TASKS`` tasks or ``BATCH_BYTES`` bytes; a larger payload has a call of its own.

Every task travels under a fresh idempotency key, so a submit whose answer was lost is sent again like any other call.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from regrow.gateway.answers import (
    FunctionAnswer,
    Problem,
    SubmitAnswer,
    SubmitRequest,
    TaskRequest,
    reader,
)
from regrow.gateway.client_errors import ClientClosed, ClientError, GatewayUnavailable, Refused
from regrow.gateway.jobs import Function, Job, bug, fail_all
from regrow.gateway.terms import PLAIN
from regrow.gateway.transport import Transport, pauses

BATCH_TASKS: Final = 1000
BATCH_BYTES: Final = 4 * 1024 * 1024
KEY_BYTES: Final = 16
UNKNOWN_FUNCTION: Final = "unknown_function"
NOT_NOW: Final = frozenset({"queue_full", "busy", "store_unavailable"})  # refusals of a task that are worth another try

_read_function: Final = reader(FunctionAnswer)
_read_submit: Final = reader(SubmitAnswer)
Sending = tuple[Job, TaskRequest]  # the request stays the same however often it is sent


class Outbox:
    """Sends jobs and tells ``on_accepted`` of ``(task id, job)`` pairs.  Only ``send`` may be called from other threads."""

    def __init__(
        self,
        transport: Transport,
        loop: asyncio.AbstractEventLoop,
        on_accepted: Callable[[list[tuple[str, Job]]], None],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._on_accepted = on_accepted
        self._arrivals: deque[Job] = deque()
        self._is_woken = False
        self._is_closed = False
        self._renewed: set[bytes] = set()  # digests of functions that were registered again during this submit
        self._sender: asyncio.Task[None] | None = None
        self._sending: list[Job] = []
        self._ids: dict[bytes, str] = {}  # digest of a function's bytes and terms -> its id at the gateway

    def send(self, jobs: Iterable[Job]) -> None:
        """Take these along.  From any thread; one wake-up of the loop serves all that arrive before it."""
        self._arrivals.extend(jobs)
        if not self._is_woken:
            self._is_woken = True
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._is_woken = False
        if self._is_closed:
            self.refuse_rest()
        elif self._arrivals and self._sender is None:
            self._sender = self._loop.create_task(self._send_all())
            self._sender.add_done_callback(self._sent_all)

    async def _send_all(self) -> None:
        while self._arrivals:
            batch = self._sending = cut(self._arrivals)
            await asyncio.gather(*(self._register_for(jobs) for jobs in self._unregistered(batch)))
            await self._submit(self._requests(batch))
        self._sending = []

    def _sent_all(self, sender: "asyncio.Task[None]") -> None:
        self._sender = None
        if not sender.cancelled() and (error := sender.exception()):
            stranded, self._sending = self._sending, []
            fail_all(stranded, bug(error))
            self._wake()

    def _unregistered(self, batch: list[Job]) -> list[list[Job]]:
        """The jobs of each function that the gateway has not got from us yet."""
        found: dict[bytes, list[Job]] = {}
        for job in batch:
            if isinstance(job.function, Function) and job.function.digest not in self._ids:
                found.setdefault(job.function.digest, []).append(job)
        return list(found.values())

    async def _register_for(self, jobs: list[Job]) -> None:
        function = jobs[0].function
        assert isinstance(function, Function)
        try:
            await self.register(function)
        except ClientError as error:
            fail_all(jobs, error)

    async def register(self, function: Function[..., Any]) -> str:
        """The id of ``function``, registered unless it has been.  Raises Refused and GatewayUnavailable."""
        known = self._ids.get(function.digest)
        if known is None:
            answer: FunctionAnswer = await self._transport.call(
                "POST", "/v1/functions", _read_function, function.request
            )
            known = self._ids[function.digest] = answer.function_id
        return known

    def _id_of(self, job: Job) -> str | None:
        return job.function if isinstance(job.function, str) else self._ids.get(job.function.digest)

    def _requests(self, batch: list[Job]) -> list[Sending]:
        """What is sent for each job whose function the gateway has."""
        found = zip(batch, keys(len(batch)), strict=True)
        return [(job, _request(job, known, key)) for job, key in found if (known := self._id_of(job))]

    async def _submit(self, batch: list[Sending]) -> None:
        """Send until all are accepted or refused for good.  Those for which the queue is full keep their places.

        A function that the gateway knows no more (its ``ttl_s`` was over, say) is registered anew, once.
        """
        give_up_at = self._loop.time() + self._transport.patience_s
        self._renewed.clear()
        for pause_s in pauses():
            batch = await self._submit_once(batch) if batch else []
            batch = await self._renew(batch)
            if not batch:
                return
            if self._loop.time() + pause_s > give_up_at:
                text = f"{self._transport.url} took no new task for {self._transport.patience_s:g} s: its queue is full"
                fail_all([job for job, _ in batch], GatewayUnavailable(text))
                return
            await asyncio.sleep(pause_s)

    async def _submit_once(self, batch: list[Sending]) -> list[Sending]:
        """One call; what it left to be tried again."""
        try:
            answer = await self._call(SubmitRequest([request for _, request in batch]))
        except ClientError as error:
            fail_all([job for job, _ in batch], error)
            return []
        accepted: list[tuple[str, Job]] = []
        again: list[Sending] = []
        for pair, item in zip(batch, answer.tasks, strict=True):
            if item.error is None:
                pair[0].accept(item.task_id)
                accepted.append((item.task_id, pair[0]))
            elif not self._refused(pair[0], item.error):
                again.append(pair)
        self._on_accepted(accepted)
        return again

    async def _renew(self, batch: list[Sending]) -> list[Sending]:
        """The same tasks, calling functions under the ids that those have now; without those that are refused."""
        lost = self._unregistered([job for job, _ in batch])
        await asyncio.gather(*(self._register_for(jobs) for jobs in lost))
        self._renewed.update(jobs[0].function.digest for jobs in lost if isinstance(jobs[0].function, Function))
        return [
            (job, request if known == request.function_id else msgspec.structs.replace(request, function_id=known))
            for job, request in batch
            if (known := self._id_of(job))
        ]

    async def _call(self, request: SubmitRequest) -> SubmitAnswer:
        """The one place where tasks are sent."""
        answer: SubmitAnswer = await self._transport.call("POST", "/v1/tasks", _read_submit, request, is_submit=True)
        if len(answer.tasks) != len(request.tasks):
            raise ClientError(f"{self._transport.url} answered {len(answer.tasks)} of {len(request.tasks)} tasks")
        return answer

    def _refused(self, job: Job, problem: Problem) -> bool:
        """Tell ``job`` that it was refused; False: only for now, and it was not told."""
        if problem.code in NOT_NOW:
            return False
        function = job.function
        if problem.code == UNKNOWN_FUNCTION and isinstance(function, Function):
            self._ids.pop(function.digest, None)
            if function.digest not in self._renewed:
                return False
        job.fail(Refused(problem.status, problem.code, problem.detail or problem.title))
        return True

    def refuse_rest(self) -> None:
        """Fail what has arrived too late.  For ``_wake``, and for the thread once its loop has ended."""
        self._is_woken = False
        while self._arrivals:
            job = self._arrivals.popleft()
            if job.claim():
                job.fail(ClientClosed("this client is closed"))

    async def close(self) -> None:
        """Send what has arrived, then take nothing more."""
        self._wake()
        while self._sender is not None:
            await asyncio.wait([self._sender])
            await asyncio.sleep(0)  # its done-callback runs
            self._wake()
        self._is_closed = True


def _request(job: Job, function_id: str, key: str) -> TaskRequest:
    options = job.options
    if options is PLAIN:
        return TaskRequest(function_id, job.params, key)
    return msgspec.structs.replace(
        options, function_id=function_id, payload=job.params, idempotency_key=options.idempotency_key or key
    )


def keys(count: int) -> Iterator[str]:
    """Fresh idempotency keys, from one piece of randomness."""
    noise = os.urandom(KEY_BYTES * count).hex()
    return (noise[at : at + 2 * KEY_BYTES] for at in range(0, len(noise), 2 * KEY_BYTES))


def cut(arrivals: deque[Job]) -> list[Job]:
    """Take the next batch from the front, without what its caller has cancelled."""
    batch: list[Job] = []
    size_bytes = 0
    while arrivals and len(batch) < BATCH_TASKS:
        size_bytes += len(arrivals[0].params)
        if batch and size_bytes > BATCH_BYTES:
            break
        job = arrivals.popleft()
        if job.claim():
            batch.append(job)
    return batch
