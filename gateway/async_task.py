"""Shell: tasks of an asyncio program: how they are submitted, awaited and cancelled."""

import asyncio
from collections.abc import Callable, Generator, Iterable
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from regrow.gateway import by_value
from regrow.gateway.answers import CancelAnswer, TaskRequest, TaskView
from regrow.gateway.capture import Captures
from regrow.gateway.client_errors import ClientError, TaskFailed
from regrow.gateway.jobs import Function
from regrow.gateway.outbox import Outbox
from regrow.gateway.outcomes import outcome
from regrow.gateway.terms import TaskOptions, template

P = ParamSpec("P")
R = TypeVar("R")


class Door(Protocol):
    """What is needed of a session."""

    outbox: Outbox

    async def cancel(self, ids: list[str], *, only_queued: bool) -> CancelAnswer: ...


class AsyncTask(Generic[R]):
    """An accepted task.  ``await`` it for its value or its exception, as often as you like; ``task_id`` names it.

    Cancelling what awaits it gives up the wait, not the task, which goes on; ``await task.cancel()`` ends the task.
    """

    def __init__(self, task_id: str, future: "asyncio.Future[R]", door: Door) -> None:
        self.task_id = task_id
        self._future = future
        self._door = door

    def __await__(self) -> Generator[Any, None, R]:
        return asyncio.shield(self._future).__await__()

    def done(self) -> bool:
        """Has it ended, as far as this client has heard?"""
        return self._future.done()

    async def cancel(self, *, only_queued: bool = False) -> bool:
        """Have the service end it, also while it runs, unless ``only_queued``; is it cancelled?

        If so, awaiting it raises TaskCancelled.  Raises Refused and GatewayUnavailable.
        """
        answer = await self._door.cancel([self.task_id], only_queued=only_queued)
        return bool(answer.cancelled)


class AsyncJob:
    """One task of an AsyncClient: first accepted, then ended."""

    __slots__ = ("accepted", "ended", "function", "options", "params")

    def __init__(self, function: Function[..., Any] | str, params: bytes, options: TaskRequest) -> None:
        loop = asyncio.get_running_loop()
        self.function = function
        self.params = params
        self.options = options
        self.accepted: asyncio.Future[str] = loop.create_future()
        self.ended: asyncio.Future[Any] = loop.create_future()
        self.accepted.add_done_callback(_look_at)
        self.ended.add_done_callback(_look_at)

    def claim(self) -> bool:
        return not self.accepted.cancelled()

    def accept(self, task_id: str) -> None:
        if not self.accepted.done():
            self.accepted.set_result(task_id)

    def is_wanted(self) -> bool:
        return not self.accepted.cancelled()

    def end(self, task: TaskView) -> None:
        value, error = outcome(task)
        if isinstance(error, StopIteration):  # asyncio refuses to carry it
            error = TaskFailed("raised", "StopIteration", str(error), task_id=task.task_id)
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(value)
        else:
            self.ended.set_exception(error)

    def fail(self, error: ClientError) -> None:
        told = self.ended if self.accepted.done() else self.accepted
        if not told.done():
            told.set_exception(error)


class AsyncSubmitting:
    """``submit`` and ``map`` of an AsyncClient, with the options that its ``options`` was called with."""

    def __init__(self, door: Callable[[], Door], captures: Captures, options: TaskOptions) -> None:
        self._door = door
        self._captures = captures
        self._options = options

    @overload
    async def submit(
        self, fn: Callable[P, R] | Function[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncTask[R]: ...
    @overload
    async def submit(self, fn: str, /, *args: Any, **kwargs: Any) -> AsyncTask[Any]: ...
    async def submit(
        self, fn: Callable[..., Any] | Function[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> AsyncTask[Any]:
        """Submit one call and wait until the gateway has accepted it; tasks submitted side by side travel together.

        Raises NotPicklable, Refused, GatewayUnavailable (not accepted) and SubmitUnknown (perhaps accepted).
        """
        door = self._door()
        job = AsyncJob(self._captures.of(fn), by_value.dumps_call(args, kwargs), template(self._options))
        door.outbox.send([job])
        return AsyncTask(await job.accepted, job.ended, door)

    async def map(self, fn: Callable[[Any], R] | Function[[Any], R] | str, items: Iterable[Any]) -> list[R]:
        """The values of ``fn(item)`` for all items, in their order.  Raises what the first failed one raised.

        The other tasks go on.  Raises what ``submit`` raises as well.
        """
        function = self._captures.of(fn)
        jobs = [
            AsyncJob(function, by_value.dumps_call((item,), {}), template(self._options, number))
            for number, item in enumerate(items)
        ]
        self._door().outbox.send(jobs)
        try:
            return [await _ended(job) for job in jobs]
        finally:
            for job in jobs:
                job.accepted.cancel()  # of no effect on those that have been accepted


async def _ended(job: AsyncJob) -> Any:
    await job.accepted
    return await job.ended


def _look_at(future: "asyncio.Future[Any]") -> None:
    """A failed task that nobody awaits is no error of this program: keep asyncio from reporting it as one."""
    if not future.cancelled():
        future.exception()
