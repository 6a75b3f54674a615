"""Shell: how an ended task looks to the program that submitted it: a value, or an exception to raise."""

from typing import Any, Final

from regrow.actors.task import FailureKind, State
from regrow.gateway import by_value
from regrow.gateway.answers import ErrorView, TaskView
from regrow.gateway.client_errors import RemoteTraceback, TaskCancelled, TaskFailed, ValueUnloadable

LAST_LINES: Final = 10  # of a failed task's output that are shown with its error


def outcome(task: TaskView) -> tuple[Any, Exception | None]:
    """The value of an ended task, or else the exception that stands for its failure."""
    if task.status is not State.COMPLETED:
        return None, failure(task)
    if task.result is None:
        return None, ValueUnloadable(f"task {task.task_id} completed, but the gateway sent no value")
    try:
        return by_value.loads(task.result), None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - unpickling runs the user's own code
        unloadable = ValueUnloadable(
            f"task {task.task_id} completed, but its value does not load here: {type(error).__name__}: {error}"
        )
        unloadable.__cause__ = error
        return None, unloadable


def value_of(task: TaskView) -> Any:
    """The value of an ended task.  Raises what ``failure`` gives, or ValueUnloadable."""
    value, error = outcome(task)
    if error is not None:
        raise error
    return value


def failure(task: TaskView) -> Exception:
    """The task's own exception where there is one that loads, else TaskFailed; the remote traceback is its cause.

    SystemExit and its like become TaskFailed too: a task must not be able to end the program that waits for it.
    """
    error = task.error or ErrorView(kind="unknown")
    own = _own_exception(error)
    if own is None:
        kind = TaskCancelled if error.kind == FailureKind.CANCELLED else TaskFailed
        own = kind(
            error.kind, error.type, error.message, error.traceback, len(task.attempts), task.task_id, task.output
        )
    else:
        own.add_note(_where(task))
    if task.output:
        own.add_note(last_words(task.output))
    if error.traceback:
        own.__cause__ = RemoteTraceback(error.traceback)
    return own


def last_words(output: str) -> str:
    """The end of what a failed task printed, for people."""
    lines = output.rstrip().splitlines()
    return "\n".join(["it printed:" if len(lines) <= LAST_LINES else "it printed at last:", *lines[-LAST_LINES:]])


def _own_exception(error: ErrorView) -> Exception | None:
    if error.exception is None:
        return None
    try:
        loaded = by_value.loads(error.exception)
    except (Exception, SystemExit):  # noqa: BLE001 - unpickling runs the user's own code; the failure's text says the same
        return None
    return loaded if isinstance(loaded, Exception) else None


def _where(task: TaskView) -> str:
    """A note for the exception: which task, which attempt, on which worker."""
    last = task.attempts[-1] if task.attempts else None
    return f"regrow task {task.task_id}" + (f", attempt {last.number} on {last.worker}" if last else "")
