"""Shell: how the commands tell of a task's end."""

import sys

from regrow.actors.task import FINAL, FailureKind, State
from regrow.gateway.answers import TaskView
from regrow.gateway.client import Client
from regrow.gateway.outcomes import last_words

LONG_POLL_S = 30.0


def tell_end(client: Client, task_id: str, timeout: float | None = None) -> int:
    """Wait for the end, as long as it takes without a ``timeout``; print it; the command's exit code."""
    task = client.task(task_id, LONG_POLL_S if timeout is None else timeout)
    while timeout is None and task.status not in FINAL:
        task = client.task(task_id, LONG_POLL_S)
    if task.status is State.COMPLETED:
        print(repr(client.result(task_id)))  # noqa: T201 (the command's output)
        return 0
    sys.stderr.write(f"{story(task)}\n" if task.error else f"{task.status} still, after {timeout:g} s\n")
    return 1


def story(task: TaskView) -> str:
    """Why a task failed: its traceback, or the reason and what it had printed by then."""
    assert task.error is not None
    if task.error.kind == FailureKind.RAISED and task.error.traceback:
        return task.error.traceback.rstrip("\n")
    reason = f"{task.error.kind}: {task.error.message}"
    return f"{reason}\n{last_words(task.output)}" if task.output else reason
