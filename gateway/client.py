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

What is said about all tasks of a function, and what about one task::

    resize = client.function(resize, limits=Limits(wall_s=30), retry=Retry(count=3, retry_on=OSError))
    client.map(resize, images)
    client.options(deadline_s=5, idempotency_key="order 7").submit(charge, order)

What a future does here that others do not: ``task_id`` names its task once the gateway has accepted it.  ``cancel()``
works until the task is sent, as PEP 3148 has it; ``cancel_task()`` has the service end the task, queued or running.
"""

import copy
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any, ParamSpec, Self, TypeVar, Unpack

from regrow.actors.limits import Limits
from regrow.actors.task import State
from regrow.gateway.answers import AttemptView, CancelAnswer, ErrorView, LetterView, StoryAnswer, TaskView
from regrow.gateway.async_client import AsyncClient, AsyncTask
from regrow.gateway.capture import Captures, capture
from regrow.gateway.client_errors import (
    ClientClosed,
    ClientError,
    GatewayUnavailable,
    NotPicklable,
    Refused,
    RemoteTraceback,
    SubmitUnknown,
    TaskCancelled,
    TaskFailed,
    ValueUnloadable,
)
from regrow.gateway.dead_letters import DeadLetters
from regrow.gateway.jobs import Function
from regrow.gateway.session_thread import SessionThread, TaskFuture
from regrow.gateway.submitting import Submitting
from regrow.gateway.terms import FunctionTerms, Retry, TaskOptions
from regrow.gateway.transport import PATIENCE_S

__all__ = [
    "AsyncClient",
    "AsyncTask",
    "AttemptView",
    "CancelAnswer",
    "Client",
    "ClientClosed",
    "ClientError",
    "DeadLetters",
    "ErrorView",
    "Executor",
    "Function",
    "FunctionTerms",
    "GatewayUnavailable",
    "LetterView",
    "Limits",
    "NotPicklable",
    "Refused",
    "RemoteTraceback",
    "Retry",
    "SubmitUnknown",
    "TaskCancelled",
    "TaskFailed",
    "TaskFuture",
    "TaskOptions",
    "TaskView",
    "ValueUnloadable",
]

P = ParamSpec("P")
R = TypeVar("R")


class Client(Submitting):
    """A blocking client of one gateway, for use from any number of threads.  A context manager.

    Its traffic runs in one background thread.  ``close`` (or leaving the ``with`` block) first sends what has been
    submitted; futures whose tasks have not ended then fail with ClientClosed, while the tasks go on.

    A function is captured, with what it refers to, when the client first meets it; ``register`` captures it again.

    A client does not survive ``fork``: in the child each call raises ClientClosed; make a new one there.
    """

    def __init__(self, url: str, *, patience_s: float = PATIENCE_S) -> None:
        """Connects to nothing yet.  Raises ConfigError for an address that cannot be one."""
        super().__init__(SessionThread(url, patience_s), Captures(), {})
        self._finalizer = weakref.finalize(self, self._thread.close)  # also at the interpreter's exit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def function(self, fn: Callable[P, R], **terms: Unpack[FunctionTerms]) -> Function[P, R]:
        """``fn`` as it is now, under ``terms`` that hold for each of its tasks; to be used like ``fn``.  Raises NotPicklable."""
        return capture(fn, terms)

    def options(self, **options: Unpack[TaskOptions]) -> Submitting:
        """``submit`` and ``map`` for tasks with these options: ``client.options(deadline_s=5).submit(fn, x)``."""
        return Submitting(self._thread, self._captures, options, self)

    def register(self, fn: Callable[..., Any] | Function[..., Any], **terms: Unpack[FunctionTerms]) -> str:
        """Capture ``fn`` as it is now, under ``terms``, for all later uses of it by this client; its id at the gateway.

        Raises NotPicklable, Refused, GatewayUnavailable.
        """
        function = fn if isinstance(fn, Function) else self._captures.anew(fn, terms)
        return self._thread.run(lambda session: session.outbox.register(function))

    def forget(self, function_id: str) -> None:
        """Delete a function; its tasks that were accepted still run.  Raises Refused for an unknown id."""
        self._thread.run(lambda session: session.forget(function_id))

    def cancel(self, *task_ids: str, only_queued: bool = False) -> CancelAnswer:
        """Have the service end tasks, also those that run, unless ``only_queued``; what became of each."""
        return self._thread.run(lambda session: session.cancel(task_ids, only_queued=only_queued))

    @property
    def dead_letters(self) -> DeadLetters:
        """The failed tasks that regrow gave up: to look at, queue again, or throw away."""
        return DeadLetters(self._thread)

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
        self._submitting: Submitting = self._client
        self._pending: set[TaskFuture[Any]] = set()
        self._ended = threading.Event()
        self._numbers: Iterator[int] | None = None  # of a map's items

    def function(self, fn: Callable[P, R], **terms: Unpack[FunctionTerms]) -> Function[P, R]:
        """``fn`` as it is now, under ``terms`` that hold for each of its tasks; to be used like ``fn``.  Raises NotPicklable."""
        return capture(fn, terms)

    def options(self, **options: Unpack[TaskOptions]) -> "Executor":
        """This executor, for tasks with these options; to shut down the one is to shut down the other."""
        same = copy.copy(self)
        same._submitting = self._client.options(**options)  # noqa: SLF001 (a copy of ours)
        return same

    def submit(self, fn: Callable[P, R] | Function[P, R], /, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[R]:
        """Submit one call.  Raises RuntimeError after ``shutdown``, and what ``Client.submit`` raises."""
        if self._ended.is_set():
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: TaskFuture[R]
        future = self._submitting.submit_item(fn, args, kwargs, next(self._numbers) if self._numbers else None)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return future

    def map(
        self,
        fn: Callable[..., R] | Function[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[R]:
        """The values in order, each as soon as it and those before it are there.  Raises TimeoutError while iterating.

        All tasks are submitted at once, in batches of the client's own choice: ``chunksize`` changes nothing.
        """
        captured: Any = self._client.captured(fn)
        same = copy.copy(self)
        same._numbers = itertools.count()  # noqa: SLF001 (a copy of ours)
        return super(Executor, same).map(captured, *iterables, timeout=timeout, chunksize=chunksize)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; cancel what no worker has, if asked to; wait for the rest, unless asked not to.

        What is cancelled by the service, which had it in its queue, raises TaskCancelled.  What runs goes on, as PEP 3148 says,
        and so does the little that a worker has been sent ahead.
        """
        self._ended.set()
        pending = list(self._pending)
        if cancel_futures:
            for future in pending:
                future.cancel_task(only_queued=True)
        if wait:
            futures.wait(pending)
            self._client.close()
