"""Shell: dead letters, for asyncio programs; see dead_letters.py."""

from typing import Final
from urllib.parse import quote

from regrow.gateway.answers import LettersAnswer, LetterView, PurgeAnswer, RequeueAnswer, TaskView, reader
from regrow.gateway.transport import Transport

PATH: Final = "/v1/dead-letters"
PAGE: Final = 1000

_read_letters: Final = reader(LettersAnswer)
_read_task: Final = reader(TaskView)
_read_requeue: Final = reader(RequeueAnswer)
_read_purge: Final = reader(PurgeAnswer)


class AsyncDeadLetters:
    """The dead letters of one gateway.  Every call raises Refused for an unknown id, and GatewayUnavailable."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(self, limit: int | None = None) -> list[LetterView]:
        """The newest ``limit``, newest first; all of them without a limit."""
        found: list[LetterView] = []
        after = ""
        while limit is None or len(found) < limit:
            count = PAGE if limit is None else min(PAGE, limit - len(found))
            page: LettersAnswer = await self._transport.call("GET", f"{PATH}?limit={count}{after}", _read_letters)
            found += page.dead_letters
            if page.next is None:
                break
            after = f"&after={page.next}"
        return found

    async def get(self, task_id: str) -> TaskView:
        """One of them, as a task, with its attempts and what it printed."""
        task: TaskView = await self._transport.call("GET", _path(task_id), _read_task)
        return task

    async def requeue(self, task_id: str) -> str:
        """Submit the same call as a new task, whose id is returned; the letter is then gone.

        It has its function's terms and its own ``limits`` and ``max_attempts``, and no delay, expiry or deadline.
        """
        answer: RequeueAnswer = await self._transport.call("POST", f"{_path(task_id)}/requeue", _read_requeue)
        return answer.task_id

    async def purge(self, task_id: str | None = None) -> int:
        """Throw one away, or all; how many there were.  Their tasks stay FAILED; their parameters go."""
        path = PATH if task_id is None else _path(task_id)
        answer: PurgeAnswer = await self._transport.call("DELETE", path, _read_purge)
        return answer.purged


def _path(task_id: str) -> str:
    return f"{PATH}/{quote(task_id, safe='')}"
