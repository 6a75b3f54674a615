"""Shell: the Python client: ``Client``, ``Executor`` (PEP 3148) and, from its own module, ``AsyncClient``.

::

    from regrow.gateway.client import Client

    with Client("http://127.0.0.1:8000") as client:
        future = client.submit(resize, image, width=200)      # a concurrent.futures.Future
        future.result()                                       # its value, or its exception
        client.map(measure, images, progress=True)            # all values, in order

Functions travel by value with what they call, so the workers need nothing of the program that submits (see by_value.py for
the edges).  Submits and waits of all threads share batches.  A gateway that restarts, or has lost its store for a moment,
is waited for, ``patience_s`` long.  One ``submit`` is one task, even where the client had to send it again: each task has an
idempotency key.

What a future does here that others do not: ``task_id`` names its task once the gateway has accepted it.  ``cancel()``
works until the task is sent, and not after: the service cannot yet take a task back.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any, ParamSpec, Self, TypeVar, overload

from regrow.actors.task import State
from regrow.gateway import by_value
from regrow.gateway.answers import AttemptView, ErrorView, StoryAnswer, TaskView
from regrow.gateway.async_client import AsyncClient, AsyncTask
from regrow.gateway.capture import Captures
from regrow.gateway.client_errors import (
    ClientClosed,
    ClientError,
    GatewayUnavailable,
    NotPicklable,
    Refused,
    RemoteTraceback,
    SubmitUnknown,
    TaskFailed,
    ValueUnloadable,
)
from regrow.gateway.jobs import Function
from regrow.gateway.session_thread import SessionThread, TaskFuture, ThreadJob
from regrow.gateway.transport import PATIENCE_S

__all__ = [
    "AsyncClient",
    "AsyncTask",
    "AttemptView",
    "Client",
    "ClientClosed",
    "ClientError",
    "ErrorView",
    "Executor",
    "Function",
    "GatewayUnavailable",
    "NotPicklable",
    "Refused",
    "RemoteTraceback",
    "SubmitUnknown",
    "TaskFailed",
    "TaskFuture",
    "TaskView",
    "ValueUnloadable",
]

P = ParamSpec("P")
R = TypeVar("R")


class Client:
    """A blocking client of one gateway, for use from any number of threads.  A context manager.

    Its traffic runs in one background thread.  ``close`` (or leaving the ``with`` block) first sends what has been
    submitted; futures whose tasks have not ended then fail with ClientClosed, while the tasks go on.

    A function is captured, with what it refers to, when the client first meets it; ``register`` captures it again.

    A client does not survive ``fork``: in the child each call raises ClientClosed; make a new one there.
    """

    def __init__(self, url: str, *, patience_s: float = PATIENCE_S) -> None:
        """Connects to nothing yet.  Raises ConfigError for an address that cannot be one."""
        self._captures = Captures()
        self._thread = SessionThread(url, patience_s)
        self._finalizer = weakref.finalize(self, self._thread.close)  # also at the interpreter's exit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def register(self, fn: Callable[..., Any]) -> str:
        """Capture ``fn`` as it is now; its id at the gateway.  Raises NotPicklable, Refused, GatewayUnavailable."""
        function = self._captures.anew(fn)
        return self._thread.run(lambda session: session.outbox.register(function))

    def capture(self, fn: Callable[..., Any] | Function | str) -> Function | str:
        """``fn`` pickled once, to be submitted many times.  Plain functions need it not: they are remembered."""
        return self._captures.of(fn)

    @overload
    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[R]: ...
    @overload
    def submit(self, fn: Function | str, /, *args: Any, **kwargs: Any) -> TaskFuture[Any]: ...
    def submit(self, fn: Callable[..., Any] | Function | str, /, *args: Any, **kwargs: Any) -> TaskFuture[Any]:
        """Submit one call of a function, or of a registered one by its id.  Does not block.

        Raises NotPicklable and ClientClosed.  The future raises the task's own exception, or TaskFailed, Refused,
        GatewayUnavailable, SubmitUnknown, ValueUnloadable, ClientClosed.
        """
        job = ThreadJob[Any](self._captures.of(fn), by_value.dumps_call(args, kwargs), self)
        self._thread.send([job])
        return job.future

    def map(self, fn: Callable[[Any], R] | str, items: Iterable[Any], *, progress: bool = False) -> list[R]:
        """The values of ``fn(item)`` for all items, in their order; ``progress`` shows a bar on standard error.

        Blocks until all have ended.  Raises what the first failed one raised (in the order of ``items``); what has not
        been sent by then is cancelled, the other tasks go on.
        """
        function = self._captures.of(fn)
        jobs = [ThreadJob[R](function, by_value.dumps_call((item,), {}), self) for item in items]
        self._thread.send(jobs)
        asked = [job.future for job in jobs]
        try:
            if progress:
                _show(asked, function.name if isinstance(function, Function) else "tasks")
            return [future.result() for future in asked]
        finally:
            for future in asked:
                future.cancel()

    def task(self, task_id: str, wait_s: float = 0.0) -> TaskView:
        """Everything known of a task; waits up to ``wait_s`` seconds for its end.  Raises Refused for an unknown id."""
        return self._thread.run(lambda session: session.task(task_id, wait_s))

    def status(self, task_id: str) -> State:
        """Where a task stands.  Raises Refused for an unknown id."""
        return self.task(task_id).status

    def result(self, task_id: str, timeout: float | None = None) -> Any:
        """The value of any task, once it has ended.  Raises its exception, TimeoutError, or Refused for an unknown id."""
        return self._thread.run(lambda session: session.result(task_id), timeout)

    def story(self, task_id: str) -> StoryAnswer:
        """What has happened to a task, in order and in words.  Raises Refused for an unknown id."""
        return self._thread.run(lambda session: session.story(task_id))

    def workers(self) -> list[dict[str, Any]]:
        """The registered workers: name, host, pid, slots, busy ..."""
        return self._thread.run(lambda session: session.workers())

    def tree(self) -> dict[str, Any]:
        """The supervision tree: nested nodes with name, path, role, pid, state, restarts, children."""
        return self._thread.run(lambda session: session.tree())

    def scale(self, size: int) -> None:
        """Resize the tree's pool to ``size`` workers."""
        self._thread.run(lambda session: session.scale(size))

    def close(self) -> None:
        """Send what has been submitted, then let go of everything.  A second call does nothing."""
        self._finalizer()


class Executor(futures.Executor):
    """``concurrent.futures.Executor`` over a gateway: what works with a ProcessPoolExecutor works with this.

    ``as_completed`` and ``wait`` take its futures.  ``shutdown`` waits for the tasks, as PEP 3148 says, where a Client lets
    go of them.  After ``shutdown(wait=False)`` the futures still end, unless the program does so first.
    """

    def __init__(self, url: str, *, patience_s: float = PATIENCE_S) -> None:
        self._client = Client(url, patience_s=patience_s)
        self._pending: set[TaskFuture[Any]] = set()
        self._is_shut_down = False

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[R]:
        """Submit one call.  Raises RuntimeError after ``shutdown``, and what ``Client.submit`` raises."""
        if self._is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = self._client.submit(fn, *args, **kwargs)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return future

    def map(
        self, fn: Callable[..., R], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[R]:
        """The values in order, each as soon as it and those before it are there.  Raises TimeoutError while iterating.

        All tasks are submitted at once, in batches of the client's own choice: ``chunksize`` changes nothing.
        """
        captured: Any = self._client.capture(fn)
        return super().map(captured, *iterables, timeout=timeout, chunksize=chunksize)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; cancel what has not been sent, if asked to; wait for the rest, unless asked not to."""
        self._is_shut_down = True
        pending = list(self._pending)
        if cancel_futures:
            for future in pending:
                future.cancel()
        if wait:
            futures.wait(pending)
            self._client.close()


def _show(asked: list[TaskFuture[Any]], title: str) -> None:
    """A progress bar, until all have ended."""
    from rich.console import Console  # slow to import, and needed for this alone
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        row = bar.add_task(title, total=len(asked))
        for _ in futures.as_completed(asked):
            bar.advance(row)
