"""Shell: one listener's answer: a server-sent event stream that ends when the listener leaves, or with an event that says why."""

import asyncio
from contextlib import aclosing
from typing import Final

from starlette.responses import Response

from regrow.actors.happenings import Place
from regrow.gateway import event_frames
from regrow.gateway.event_frames import Page
from regrow.gateway.event_hub import Hub, Listener
from regrow.gateway.guard import Receive, Scope, Send
from regrow.runtime.errors import StoreError

BEAT_S: Final = 15.0  # of silence, after which a comment is sent
STUCK_S: Final = 30.0  # for one write, after which the connection is broken
MEDIA_TYPE: Final = "text/event-stream"
HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


class EventStream(Response):
    """What has happened behind ``after`` (None: from now on), of one task if ``task_id`` says so."""

    media_type = MEDIA_TYPE

    def __init__(self, hub: Hub, after: Place | None, task_id: str) -> None:
        super().__init__()
        self._hub = hub
        self._after = after
        self._task_id = task_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.  Raises ApiError and StoreError while nothing has been sent."""
        async with self._hub.listener(scope.get("client")) as listener:
            after = self._after or self._hub.position
            assert after is not None
            has_gap = after.ms > 0 and after < (self._hub.position or after) and not await self._hub.annals.has(after)
            await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            leaving = asyncio.create_task(_left(receive, listener))
            try:
                await self._tell(Pen(self._hub, listener, send), listener, after, has_gap=has_gap)
            finally:
                leaving.cancel()

    async def _tell(self, pen: "Pen", listener: Listener, after: Place, *, has_gap: bool) -> None:
        await pen.write(event_frames.greeting(after) + (event_frames.gap(after) if has_gap else b""))
        try:
            async with aclosing(self._hub.catch_up(listener, after)) as missed:
                async for page in missed:
                    after = await self._page(pen, page, after)
        except StoreError:
            listener.dismiss("store_unavailable")
        while not listener.farewell:
            if not await listener.news(BEAT_S):
                await pen.write(event_frames.BEAT)
            for page in listener.take():
                after = await self._page(pen, page, after)
        known = listener.farewell in event_frames.REASONS
        await pen.write(event_frames.end(listener.farewell) if known else b"", is_last=True)

    async def _page(self, pen: "Pen", page: Page, after: Place) -> Place:
        await pen.write(page.frames(after, self._task_id))
        return max(after, page.end)


class Pen:
    """Writes to one connection, and breaks it when it takes nothing any more."""

    def __init__(self, hub: Hub, listener: Listener, send: Send) -> None:
        self._hub = hub
        self._listener = listener
        self._send = send

    async def write(self, text: bytes, *, is_last: bool = False) -> None:
        """Return when the connection has room again."""
        if not text and not is_last:
            return
        self._listener.is_sending = True
        try:
            async with asyncio.timeout(STUCK_S):
                await self._send({"type": "http.response.body", "body": text, "more_body": not is_last})
        except TimeoutError:
            self._listener.dismiss("stuck")
            self._hub.cut(self._listener.peer)
        finally:
            self._listener.is_sending = False


async def _left(receive: Receive, listener: Listener) -> None:
    """Until the listener closes its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.dismiss("left")
