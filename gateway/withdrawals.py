"""Shell: the tasks of one client that nobody wants any more, cancelled in batches.

Whoever withdraws a task does not wait: its future hears of its end like of any other.  Where no gateway answers, the
future says so, for it waits for the same gateway.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Final

from regrow.gateway.answers import CancelAnswer, CancelRequest, reader
from regrow.gateway.client_errors import ClientError
from regrow.gateway.transport import Transport

BATCH_TASKS: Final = 1000

_read_cancel: Final = reader(CancelAnswer)


class Withdrawals:
    """Group commit, like the outbox: one call is under way at a time, and what comes meanwhile goes with the next one."""

    def __init__(self, transport: Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: dict[bool, list[str]] = {True: [], False: []}  # by whether only queued ones are meant
        self._sender: asyncio.Task[None] | None = None

    def add(self, task_id: str, *, only_queued: bool) -> None:
        """Have this one cancelled.  In the loop; ``soon`` is for other threads."""
        self._waiting[only_queued].append(task_id)
        if self._sender is None:
            self._sender = self._loop.create_task(self._send_all())

    def soon(self, task_id: str, *, only_queued: bool) -> None:
        """``add``, from any thread.  Raises RuntimeError when the loop has ended."""
        self._loop.call_soon_threadsafe(lambda: self.add(task_id, only_queued=only_queued))

    async def _send_all(self) -> None:
        while batches := [(ids, only_queued) for only_queued, ids in self._waiting.items() if ids]:
            self._waiting = {True: [], False: []}
            for ids, only_queued in batches:
                with contextlib.suppress(ClientError):
                    await cancel(self._transport, ids, only_queued=only_queued)
        self._sender = None

    async def close(self) -> None:
        """Send what has been added."""
        if self._sender is not None:
            await asyncio.wait([self._sender])


async def cancel(transport: Transport, ids: Iterable[str], *, only_queued: bool) -> CancelAnswer:
    """What became of each.  Raises Refused and GatewayUnavailable."""
    left = list(ids)
    total = CancelAnswer()
    while left:
        request = CancelRequest(left[:BATCH_TASKS], only_queued)
        answer: CancelAnswer = await transport.call("POST", "/v1/tasks/cancel", _read_cancel, request)
        total = CancelAnswer(
            total.cancelled + answer.cancelled,
            total.ended + answer.ended,
            total.running + answer.running,
            total.unknown + answer.unknown,
        )
        left = left[BATCH_TASKS:]
    return total
