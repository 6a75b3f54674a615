"""Shell: a session with a gateway in a background thread, for programs that know nothing of asyncio.

The thread starts at first use and is a daemon: it never keeps a program alive.  It holds no reference to the Client that
uses it, so that a forgotten Client is closed by the garbage collector; a future that has not ended holds one.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, Protocol, TypeVar

from regrow.gateway.answers import TaskRequest, TaskView
from regrow.gateway.async_client import Session
from regrow.gateway.client_errors import ClientClosed, ClientError, TaskCancelled
from regrow.gateway.jobs import Function
from regrow.gateway.outcomes import outcome
from regrow.gateway.terms import PLAIN
from regrow.gateway.transport import checked_url

R = TypeVar("R")


class Withdraw(Protocol):
    """Has a task cancelled by the service, from any thread."""

    def __call__(self, task_id: str, *, only_queued: bool) -> None: ...


class TaskFuture(Future[R]):
    """A ``concurrent.futures.Future`` that knows its task: ``task_id`` is "" until the gateway has accepted it.

    ``cancel()`` is that of every Future: it takes back what has not been sent, and is False from then on.
    ``cancel_task()`` reaches the task itself.
    """

    def __init__(self, withdraw: Withdraw) -> None:
        super().__init__()
        self.task_id = ""
        self._withdraw = withdraw
        self._is_wanted = True
        self._only_queued = False
        self._was_cancelled = False

    def cancel_task(self, *, only_queued: bool = False) -> None:
        """Have the service end the task, also while it runs, unless ``only_queued``.  Does not block.

        If it had not ended by then, ``result()`` raises TaskCancelled, which is a ``concurrent.futures.CancelledError``, and
        ``cancelled()`` is true; if it had, nothing changes.
        """
        if not self.cancel() and not self.done():
            self._only_queued, self._is_wanted = only_queued, False
            if self.task_id:  # else it is about to be accepted, and withdrawn then
                self._withdraw(self.task_id, only_queued=only_queued)

    def cancelled(self) -> bool:
        """Was it cancelled, here before it was sent or by the service after that?"""
        return super().cancelled() or self._was_cancelled

    def accepted(self, task_id: str) -> None:
        """The gateway has taken it.  For the client."""
        self.task_id = task_id
        if not self._is_wanted:
            self._withdraw(task_id, only_queued=self._only_queued)

    def fail(self, error: Exception) -> None:
        """It has ended with this, unless it has ended already.  For the client."""
        if not self.done():
            self._was_cancelled = isinstance(error, TaskCancelled)
            self.set_exception(error)


class ThreadJob(Generic[R]):
    """One task of a blocking client.  ``owner`` is kept alive until it has ended."""

    __slots__ = ("function", "future", "options", "owner", "params")

    def __init__(
        self,
        function: Function[..., Any] | str,
        params: bytes,
        owner: object,
        future: TaskFuture[R],
        options: TaskRequest = PLAIN,
    ) -> None:
        self.function = function
        self.params = params
        self.options = options
        self.future = future
        self.owner = owner

    def claim(self) -> bool:
        return self.future.set_running_or_notify_cancel()

    def accept(self, task_id: str) -> None:
        self.future.accepted(task_id)

    def is_wanted(self) -> bool:
        return True  # a running future cannot be cancelled

    def end(self, task: TaskView) -> None:
        value, error = outcome(task)
        if self.future.done():
            return
        if error is None:
            self.future.set_result(value)
        else:
            self.future.fail(error)

    def fail(self, error: ClientError) -> None:
        self.future.fail(error)


class SessionThread:
    """One session, its event loop and its thread.  Everything may be called from any thread."""

    def __init__(self, url: str, patience_s: float) -> None:
        """Starts nothing yet.  Raises ConfigError for an address that cannot be one."""
        self._url = checked_url(url)
        self._patience_s = patience_s
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: Session | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def send(self, jobs: Iterable[ThreadJob[Any]]) -> None:
        """Take these along.  Raises ClientClosed."""
        session = self._opened()
        try:
            session.outbox.send(jobs)
        except RuntimeError:  # the loop has ended since
            raise ClientClosed("this client is closed") from None

    def withdraw(self, task_id: str, *, only_queued: bool) -> None:
        """Have a task of this client cancelled, soon; also while it is being closed.  Raises ClientClosed."""
        session = self._session if self._pid == os.getpid() else self._opened()
        assert session is not None  # it has sent the task
        try:
            session.withdrawals.soon(task_id, only_queued=only_queued)
        except RuntimeError:  # the loop has ended since
            raise ClientClosed("this client is closed") from None

    def run(self, call: Callable[[Session], Coroutine[Any, Any, R]], timeout: float | None = None) -> R:
        """What one call returns or raises.  Raises ClientClosed, and TimeoutError after ``timeout`` seconds."""
        session = self._opened()
        assert self._loop is not None
        coroutine = call(session)
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:  # the loop has ended since
            coroutine.close()
            raise ClientClosed("this client is closed") from None
        try:
            return future.result(timeout)
        except TaskCancelled:
            raise
        except CancelledError:
            raise ClientClosed("the client was closed meanwhile") from None
        finally:
            future.cancel()  # of no effect unless it has not ended: after a timeout, or Ctrl-C

    def _opened(self) -> Session:
        """The running session.  Raises ClientClosed, also in a child of the process that made it."""
        if self._pid != os.getpid():
            raise ClientClosed("a client does not survive fork(): make a new one in the child process")
        session = self._session
        if session is None or self._is_closed:
            with self._lock:
                if self._is_closed:
                    raise ClientClosed("this client is closed")
                session = self._session = self._session or self._start()
        return session

    def _start(self) -> Session:
        started: Future[Session] = Future()
        self._thread = threading.Thread(target=self._main, args=(started,), name="regrow-client", daemon=True)
        self._thread.start()
        return started.result()

    def _main(self, started: "Future[Session]") -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            runner.run(self._live(started))
        started.result().outbox.refuse_rest()

    async def _live(self, started: "Future[Session]") -> None:
        self._end = asyncio.Event()
        session = Session(self._url, self._patience_s)
        started.set_result(session)
        await self._end.wait()
        await session.close()

    def close(self) -> None:
        """End the session as its ``close`` says, and the thread with it.  A second call, or one after fork, does nothing."""
        if self._pid != os.getpid():
            return
        with self._lock:
            is_first, self._is_closed = not self._is_closed, True
        if not is_first or self._thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._end.set)
        if self._thread is not threading.current_thread():  # the garbage collector may call from anywhere
            self._thread.join()
