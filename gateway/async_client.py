"""Shell: the client for asyncio programs, and the session that it shares with the blocking one.

::

    async with AsyncClient("http://127.0.0.1:8000") as client:
        task = await client.submit(resize, image)      # accepted: the task has an id and will run
        smaller = await task                           # its value, or its exception
        sizes = await client.map(measure, images)

``AsyncClient`` belongs to the event loop in which it is first used.
"""

import asyncio
from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, Generic, ParamSpec, Self, TypeVar, overload
from urllib.parse import quote

import msgspec

from regrow.actors.task import State
from regrow.gateway import by_value
from regrow.gateway.answers import ResizeRequest, StoryAnswer, TaskView, WorkersAnswer, reader
from regrow.gateway.capture import Captures
from regrow.gateway.client_errors import ClientError, TaskFailed
from regrow.gateway.inbox import Inbox
from regrow.gateway.jobs import Function
from regrow.gateway.outbox import Outbox
from regrow.gateway.outcomes import outcome, value_of
from regrow.gateway.polls import WAIT_S
from regrow.gateway.transport import PATIENCE_S, Transport

P = ParamSpec("P")
R = TypeVar("R")

_read_task: Final = reader(TaskView)
_read_workers: Final = reader(WorkersAnswer)
_read_story: Final = reader(StoryAnswer)
_read_any: Final = msgspec.msgpack.Decoder()


class Session:
    """What both clients are made of: one gateway, one event loop, all traffic in batches.

    ``outbox.send`` may be called from any thread; everything else belongs to the running loop in which it was made.
    """

    def __init__(self, url: str, patience_s: float) -> None:
        loop = asyncio.get_running_loop()
        self.transport = Transport(url, patience_s)
        self.inbox = Inbox(self.transport, loop)
        self.outbox = Outbox(self.transport, loop, self.inbox.add)

    async def task(self, task_id: str, wait_s: float = 0.0) -> TaskView:
        """The task as it stands, or as it has ended within ``wait_s`` seconds.  Raises Refused, GatewayUnavailable."""
        view: TaskView = await self.transport.call(
            "GET", f"/v1/tasks/{quote(task_id, safe='')}?wait_s={wait_s:g}", _read_task, wait_s=wait_s
        )
        return view

    async def result(self, task_id: str) -> Any:
        """The value of any task, when it has ended.  Raises what the task raised, and Refused for an unknown id."""
        view = await self.task(task_id, WAIT_S)
        while not view.is_final:
            view = await self.task(task_id, WAIT_S)
        return value_of(view)

    async def story(self, task_id: str) -> StoryAnswer:
        """What has happened to a task."""
        answer: StoryAnswer = await self.transport.call(
            "GET", f"/v1/tasks/{quote(task_id, safe='')}/story", _read_story
        )
        return answer

    async def workers(self) -> list[dict[str, Any]]:
        """Every registered worker, as /v1/workers has it."""
        answer: WorkersAnswer = await self.transport.call("GET", "/v1/workers", _read_workers)
        return answer.workers

    async def tree(self) -> dict[str, Any]:
        """The supervision tree, as /v1/tree has it."""
        tree: dict[str, Any] = await self.transport.call("GET", "/v1/tree", _read_any)
        return tree

    async def scale(self, size: int) -> None:
        """Resize the tree's pool of workers."""
        await self.transport.call("PATCH", "/v1/pools/workers", _read_any, ResizeRequest(size))

    async def close(self) -> None:
        """Send what waits to be sent; give up what has not ended; drop the connections."""
        await self.outbox.close()
        await self.inbox.close()
        await self.transport.close()


class AsyncTask(Generic[R]):
    """An accepted task.  ``await`` it for its value or its exception, as often as you like; ``task_id`` names it.

    Cancelling what awaits it gives up the wait, not the task, which goes on.
    """

    def __init__(self, task_id: str, future: "asyncio.Future[R]") -> None:
        self.task_id = task_id
        self._future = future

    def __await__(self) -> Generator[Any, None, R]:
        return asyncio.shield(self._future).__await__()

    def done(self) -> bool:
        """Has it ended, as far as this client has heard?"""
        return self._future.done()


class _AsyncJob:
    """One task of an AsyncClient: first accepted, then ended."""

    __slots__ = ("accepted", "ended", "function", "params")

    def __init__(self, function: Function | str, params: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.function = function
        self.params = params
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


def _look_at(future: "asyncio.Future[Any]") -> None:
    """A failed task that nobody awaits is no error of this program: keep asyncio from reporting it as one."""
    if not future.cancelled():
        future.exception()


class AsyncClient:
    """The client for asyncio programs.  An async context manager; ``url`` like ``http://127.0.0.1:8000``.

    ``patience_s``: for how long an unreachable gateway is tried again before GatewayUnavailable is raised.
    """

    def __init__(self, url: str, *, patience_s: float = PATIENCE_S) -> None:
        self._url = url
        self._patience_s = patience_s
        self._captures = Captures()
        self._opened: Session | None = None

    async def __aenter__(self) -> Self:
        _ = self._session
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def _session(self) -> Session:
        """Made at first use, in the loop of that moment.  Raises ConfigError for an address that cannot be one."""
        if self._opened is None:
            self._opened = Session(self._url, self._patience_s)
        return self._opened

    async def register(self, fn: Callable[..., Any]) -> str:
        """Capture ``fn`` as it is now; its id at the gateway.  Raises NotPicklable, Refused, GatewayUnavailable."""
        return await self._session.outbox.register(self._captures.anew(fn))

    @overload
    async def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> AsyncTask[R]: ...
    @overload
    async def submit(self, fn: str, /, *args: Any, **kwargs: Any) -> AsyncTask[Any]: ...
    async def submit(self, fn: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> AsyncTask[Any]:
        """Submit one call and wait until the gateway has accepted it; tasks submitted side by side travel together.

        Raises NotPicklable, Refused, GatewayUnavailable (not accepted) and SubmitUnknown (perhaps accepted).
        """
        job = _AsyncJob(self._captures.of(fn), by_value.dumps_call(args, kwargs))
        self._session.outbox.send([job])
        return AsyncTask(await job.accepted, job.ended)

    async def map(self, fn: Callable[[Any], R] | str, items: Iterable[Any]) -> list[R]:
        """The values of ``fn(item)`` for all items, in their order.  Raises what the first failed one raised.

        The other tasks go on.  Raises what ``submit`` raises as well.
        """
        function = self._captures.of(fn)
        jobs = [_AsyncJob(function, by_value.dumps_call((item,), {})) for item in items]
        self._session.outbox.send(jobs)
        try:
            return [await _ended(job) for job in jobs]
        finally:
            for job in jobs:
                job.accepted.cancel()  # of no effect on those that have been accepted

    async def task(self, task_id: str, wait_s: float = 0.0) -> TaskView:
        """Everything known of a task; waits up to ``wait_s`` seconds for its end.  Raises Refused for an unknown id."""
        return await self._session.task(task_id, wait_s)

    async def status(self, task_id: str) -> State:
        """Where a task stands.  Raises Refused for an unknown id."""
        return (await self._session.task(task_id)).status

    async def result(self, task_id: str) -> Any:
        """The value of any task, once it has ended.  Raises its exception, or Refused for an unknown id."""
        return await self._session.result(task_id)

    async def story(self, task_id: str) -> StoryAnswer:
        """What has happened to a task, in order and in words."""
        return await self._session.story(task_id)

    async def workers(self) -> list[dict[str, Any]]:
        """The registered workers: name, host, pid, slots, busy ..."""
        return await self._session.workers()

    async def tree(self) -> dict[str, Any]:
        """The supervision tree: nested nodes with name, path, role, pid, state, restarts, children."""
        return await self._session.tree()

    async def scale(self, size: int) -> None:
        """Resize the tree's pool to ``size`` workers."""
        await self._session.scale(size)

    async def close(self) -> None:
        """Send what waits to be sent, then let go: tasks go on, what still awaits them gets ClientClosed."""
        if self._opened is not None:
            await self._opened.close()


async def _ended(job: _AsyncJob) -> Any:
    await job.accepted
    return await job.ended
