"""Shell: group commit: calls that arrive while another is under way travel together in the next one.

::

    do([a]) ─┐                        ┌─ carry([a]) ──▶ store
    do([b]) ─┼─▶ waiting ─▶ one at a ─┤
    do([c]) ─┘              time      └─ carry([b, c]) ──▶ store     (b and c came while a was under way)

A lone call is not delayed: it leaves in the next turn of the loop.  A batch ends at ``max_items`` or ``max_bytes``,
unless one call alone is larger.  A batch that fails, fails for all who are in it, and for nobody else.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Carries items in batches. ``carry`` answers one result per item, in order; ``weigh`` tells an item's bytes."""

    def __init__(
        self,
        carry: Callable[[list[T]], Awaitable[Sequence[R]]],
        *,
        max_items: int = 1000,
        max_bytes: int = 8 * 1024 * 1024,
        weigh: Callable[[T], int] = lambda _: 0,
    ) -> None:
        self._carry = carry
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._weigh = weigh
        self._waiting: deque[tuple[list[T], int, asyncio.Future[list[R]]]] = deque()
        self._run: asyncio.Task[None] | None = None

    async def do(self, items: list[T]) -> list[R]:
        """The results of ``items``. Raises what ``carry`` raised."""
        if not items:
            return []
        promise: asyncio.Future[list[R]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, sum(map(self._weigh, items)), promise))
        if self._run is None:
            self._run = asyncio.create_task(self._carry_all(), name="batcher")
        return await promise

    async def _carry_all(self) -> None:
        try:
            while self._waiting:
                await self._carry_one(self._next_batch())
        finally:
            self._run = None

    def _next_batch(self) -> list[tuple[list[T], asyncio.Future[list[R]]]]:
        batch: list[tuple[list[T], asyncio.Future[list[R]]]] = []
        items = weight = 0
        while self._waiting:
            call, call_weight, promise = self._waiting[0]
            items, weight = items + len(call), weight + call_weight
            if batch and (items > self._max_items or weight > self._max_bytes):
                break
            self._waiting.popleft()
            batch.append((call, promise))
        return batch

    async def _carry_one(self, batch: list[tuple[list[T], asyncio.Future[list[R]]]]) -> None:
        try:
            results = await self._carry([item for call, _ in batch for item in call])
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who wait for it
            for _, promise in batch:
                if not promise.done():
                    promise.set_exception(error)
            return
        start = 0
        for call, promise in batch:
            if not promise.done():
                promise.set_result(list(results[start : start + len(call)]))
            start += len(call)
