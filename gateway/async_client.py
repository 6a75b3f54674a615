"""Shell: the client for asyncio programs, and the session that it shares with the blocking one.

::

    async with AsyncClient("http://127.0.0.1:8000") as client:
        task = await client.submit(resize, image)      # accepted: the task has an id and will run
        smaller = await task                           # its value, or its exception
        sizes = await client.map(measure, images)

``AsyncClient`` belongs to the event loop in which it is first used.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, ParamSpec, Self, TypeVar, Unpack
from urllib.parse import quote

import msgspec

from regrow.actors.task import State
from regrow.gateway.answers import CancelAnswer, ResizeRequest, StoryAnswer, TaskView, WorkersAnswer, reader
from regrow.gateway.async_letters import AsyncDeadLetters
from regrow.gateway.async_task import AsyncSubmitting, AsyncTask
from regrow.gateway.capture import Captures, capture
from regrow.gateway.inbox import Inbox
from regrow.gateway.jobs import Function
from regrow.gateway.outbox import Outbox
from regrow.gateway.outcomes import value_of
from regrow.gateway.polls import WAIT_S
from regrow.gateway.terms import FunctionTerms, TaskOptions
from regrow.gateway.transport import PATIENCE_S, Transport
from regrow.gateway.withdrawals import Withdrawals, cancel

__all__ = ["AsyncClient", "AsyncTask", "Session"]

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
        self.withdrawals = Withdrawals(self.transport, loop)

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

    async def cancel(self, ids: Sequence[str], *, only_queued: bool) -> CancelAnswer:
        """What became of each.  Raises Refused and GatewayUnavailable."""
        return await cancel(self.transport, ids, only_queued=only_queued)

    async def forget(self, function_id: str) -> None:
        """Delete a function.  Raises Refused and GatewayUnavailable."""
        await self.transport.call("DELETE", f"/v1/functions/{quote(function_id, safe='')}", _read_any)

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
        await asyncio.sleep(0)  # what was withdrawn while it was sent is added
        await self.withdrawals.close()
        await self.inbox.close()
        await self.transport.close()


class AsyncClient(AsyncSubmitting):
    """The client for asyncio programs.  An async context manager; ``url`` like ``http://127.0.0.1:8000``.

    ``patience_s``: for how long an unreachable gateway is tried again before GatewayUnavailable is raised.
    """

    def __init__(self, url: str, *, patience_s: float = PATIENCE_S) -> None:
        self._url = url
        self._patience_s = patience_s
        self._captures = Captures()
        self._opened: Session | None = None
        super().__init__(lambda: self._session, self._captures, {})

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

    def function(self, fn: Callable[P, R], **terms: Unpack[FunctionTerms]) -> Function[P, R]:
        """``fn`` as it is now, under ``terms`` that hold for each of its tasks.  Raises NotPicklable."""
        return capture(fn, terms)

    async def register(self, fn: Callable[..., Any] | Function[..., Any], **terms: Unpack[FunctionTerms]) -> str:
        """Capture ``fn`` as it is now; its id at the gateway.  Raises NotPicklable, Refused, GatewayUnavailable."""
        function = fn if isinstance(fn, Function) else self._captures.anew(fn, terms)
        return await self._session.outbox.register(function)

    def options(self, **options: Unpack[TaskOptions]) -> AsyncSubmitting:
        """``submit`` and ``map`` for tasks with these options."""
        return AsyncSubmitting(lambda: self._session, self._captures, options)

    async def cancel(self, *task_ids: str, only_queued: bool = False) -> CancelAnswer:
        """Have the service end tasks, also those that run, unless ``only_queued``; what became of each."""
        return await self._session.cancel(task_ids, only_queued=only_queued)

    @property
    def dead_letters(self) -> AsyncDeadLetters:
        """The failed tasks that regrow gave up: to look at, queue again, or throw away."""
        return AsyncDeadLetters(self._session.transport)

    async def forget(self, function_id: str) -> None:
        """Delete a function; its tasks that were accepted still run."""
        await self._session.forget(function_id)

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
