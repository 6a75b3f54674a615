"""Shell: how a blocking program submits calls: one by one as futures, or a whole list for its values."""

from collections.abc import Callable, Iterable
from concurrent import futures
from typing import Any, ParamSpec, TypeVar, overload

from regrow.gateway import by_value
from regrow.gateway.capture import Captures
from regrow.gateway.jobs import Function
from regrow.gateway.session_thread import SessionThread, TaskFuture, ThreadJob
from regrow.gateway.terms import TaskOptions, template

P = ParamSpec("P")
R = TypeVar("R")


class Submitting:
    """``submit`` and ``map`` of a Client, with the options that its ``options`` was called with.

    ``owner`` is kept alive until the tasks have ended: by default the object itself.
    """

    def __init__(
        self, thread: SessionThread, captures: Captures, options: TaskOptions, owner: object | None = None
    ) -> None:
        self._thread = thread
        self._captures = captures
        self._options = options
        self._owner = owner

    @overload
    def submit(self, fn: Callable[P, R] | Function[P, R], /, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[R]: ...
    @overload
    def submit(self, fn: str, /, *args: Any, **kwargs: Any) -> TaskFuture[Any]: ...
    def submit(
        self, fn: Callable[..., Any] | Function[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> TaskFuture[Any]:
        """Submit one call of a function, or of a registered one by its id.  Does not block.

        Raises NotPicklable and ClientClosed.  The future raises the task's own exception, or TaskFailed, TaskCancelled,
        Refused, GatewayUnavailable, SubmitUnknown, ValueUnloadable, ClientClosed.
        """
        return self.submit_item(fn, args, kwargs)

    def submit_item(
        self, fn: Callable[..., Any] | Function[..., Any] | str, args: Any, kwargs: Any, number: int | None = None
    ) -> TaskFuture[Any]:
        """The same; ``number``: the call is that of a map's item."""
        job = self._job(self._captures.of(fn), args, kwargs, number)
        self._thread.send([job])
        return job.future

    def map(
        self, fn: Callable[[Any], R] | Function[[Any], R] | str, items: Iterable[Any], *, progress: bool = False
    ) -> list[R]:
        """The values of ``fn(item)`` for all items, in their order; ``progress`` shows a bar on standard error.

        Blocks until all have ended.  Raises what the first failed one raised (in the order of ``items``); what has not
        been sent by then is cancelled, the other tasks go on.
        """
        function = self._captures.of(fn)
        jobs = [self._job(function, (item,), {}, number) for number, item in enumerate(items)]
        self._thread.send(jobs)
        asked = [job.future for job in jobs]
        try:
            if progress:
                _show(asked, function.name if isinstance(function, Function) else "tasks")
            return [future.result() for future in asked]
        finally:
            for future in asked:
                future.cancel()

    def captured(self, fn: Callable[..., Any] | Function[..., Any] | str) -> Function[..., Any] | str:
        """``fn``, pickled once to be submitted many times.  Raises NotPicklable."""
        return self._captures.of(fn)

    def _job(self, function: Function[..., Any] | str, args: Any, kwargs: Any, number: int | None) -> ThreadJob[Any]:
        future = TaskFuture[Any](self._thread.withdraw)
        params = by_value.dumps_call(args, kwargs)
        return ThreadJob(function, params, self._owner or self, future, template(self._options, number))


def _show(asked: list[TaskFuture[Any]], title: str) -> None:
    """A progress bar, until all have ended."""
    from rich.console import Console  # slow to import, and needed for this alone
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        row = bar.add_task(title, total=len(asked))
        for _ in futures.as_completed(asked):
            bar.advance(row)
