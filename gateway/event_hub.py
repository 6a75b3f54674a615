"""Shell: one reader of the record for all listeners of this gateway process.

::

    store ──XREAD──▶ Hub ──pages──┬─▶ Listener 1 ──▶ its connection
                                  └─▶ Listener 2 ──▶ ...

- While anybody listens, one task reads; a page is read, decoded and written out once, and every listener gets the same bytes.
- After a page that was not full the reader lets ``GATHER_S`` pass, so that under load many events travel together.
- A listener that wants older events reads pages by itself until it has caught up with the reader, and then joins: there is no
  moment in between in which an event could be missed, and what it has had already is left out by place.
- What a listener has not taken is bounded; above that it is told so and let go, and nobody else notices.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Final

from regrow.actors.annals import PAGE, Annals
from regrow.actors.cancellation import end
from regrow.actors.happenings import Place
from regrow.gateway.bell import Bell
from regrow.gateway.event_frames import Page
from regrow.gateway.problems import ApiError

GATHER_S: Final = 0.05  # between two pages to all listeners
MAX_BEHIND: Final = 20_000  # events that wait for one listener
MAX_LISTENERS: Final = 500  # of one gateway process


class Listener:
    """What one connection has still to be sent.  ``farewell``: why it is let go, "" while it is not."""

    def __init__(self, peer: object) -> None:
        self.peer = peer
        self.farewell = ""
        self.is_sending = False
        self._pages: deque[Page] = deque()
        self._behind = 0
        self._bell = Bell()

    def put(self, page: Page) -> bool:
        """False: it has not taken the last ones, and is let go."""
        if self._pages and self._behind + len(page.events) > MAX_BEHIND:
            self.dismiss("too_slow")
            return False
        self._pages.append(page)
        self._behind += len(page.events)
        self._bell.ring()
        return True

    def dismiss(self, reason: str) -> None:
        """Nothing more for it but these last words."""
        self.farewell = self.farewell or reason
        self._pages.clear()
        self._bell.ring()

    def take(self) -> list[Page]:
        """Everything that waits."""
        pages = list(self._pages)
        self._pages.clear()
        self._behind = 0
        self._bell.still()
        return pages

    async def news(self, within_s: float) -> bool:
        """Wait for something to take or a farewell; False when nothing came within ``within_s`` seconds."""
        return await self._bell.rung(within_s)


class Hub:
    """All listeners of this process.  Lives in one event loop."""

    def __init__(self, annals: Annals) -> None:
        self.annals = annals
        self.position: Place | None = None  # up to which the reader has read; None: nobody listens
        self.cut: Callable[[object], None] = lambda _: None  # breaks the connection to a peer
        self.is_released = False
        self._listeners: set[Listener] = set()  # all, also those that are still catching up
        self._joined: set[Listener] = set()
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._listeners)

    @asynccontextmanager
    async def listener(self, peer: object) -> AsyncIterator[Listener]:
        """A listener for the time of the block, with a reader that runs.  Raises ApiError, StoreUnavailable."""
        if len(self._listeners) >= MAX_LISTENERS:
            raise ApiError("too_many_listeners", f"{MAX_LISTENERS} listen to this gateway already: come back later")
        listener = Listener(peer)
        self._listeners.add(listener)
        if self.is_released:
            listener.dismiss("stopping")
        try:
            await self._begin()
            yield listener
        finally:
            self._listeners.discard(listener)
            self._joined.discard(listener)
            if not self._listeners:
                self._end()

    async def _begin(self) -> None:
        async with self._starting:
            if self._reader is None:
                self.position = await self.annals.end()
                self._reader = asyncio.create_task(self._read(self.position), name="events")

    def _end(self) -> None:
        """The last one has left."""
        if self._reader is not None:
            self._reader.cancel()
        self._reader = self.position = None

    async def catch_up(self, listener: Listener, after: Place) -> AsyncGenerator[Page]:
        """The pages between ``after`` and the reader; when they are at an end, the listener has joined."""
        while self.position is not None and after < self.position and not listener.farewell:
            until = self.position
            entries = await self.annals.page(after, until.entry)
            if entries:
                yield Page(entries)
            after = entries[-1].end if entries else until
        self._joined.add(listener)

    async def _read(self, position: Place) -> None:
        async with aclosing(self.annals.growth(position)) as growth:
            async for entries in growth:
                self._spread(Page(entries))
                if len(entries) < PAGE:
                    await asyncio.sleep(GATHER_S)  # many small entries become one page, and one write per listener

    def _spread(self, page: Page) -> None:
        self.position = page.end
        self._joined -= {listener for listener in self._joined if not listener.put(page)}

    def release(self) -> None:
        """Let everybody go; who does not take anything now is cut off."""
        self.is_released = True
        for listener in self._listeners:
            listener.dismiss("stopping")
            if listener.is_sending:
                self.cut(listener.peer)

    async def close(self) -> None:
        """End the reader and its connections."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await end(reader)
        await self.annals.close()
