"""Shell: how a task that speaks with the store is ended for certain.

A cancellation that comes while redis-py connects can be lost in there: the call returns as if nothing had been, and who
goes on for ever would go on for ever.  So whoever loops asks after it (``raise_if_cancelled``), and whoever ends a task says
it until the task has ended (``end``).
"""

import asyncio
from typing import Any, Final

AGAIN_S: Final = 0.1  # after which a task that goes on is cancelled once more
END_S: Final = 2.0  # after which it is left to itself: a stop is not held up by it


def raise_if_cancelled() -> None:
    """Raises CancelledError where a cancellation of this task was lost."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def end(task: asyncio.Task[Any], within_s: float = END_S) -> None:
    """Cancel it until it has ended, for at most ``within_s`` seconds; what it raises is of no interest any more."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + within_s
    while not task.done() and clock() < deadline:
        task.cancel()
        await asyncio.wait({task}, timeout=AGAIN_S)
    if task.done() and not task.cancelled():
        task.exception()
