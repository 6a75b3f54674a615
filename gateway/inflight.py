"""Shell: how many bytes of bodies and of results are on their way through this process, and that they are not too many.

::

    body arrives ─▶ grow ─▶ ... checked, submitted, stored ... ─▶ answered ─▶ release
    result read  ─▶ grow ─▶ written to the client ─────────────▶ release

A body counts as it arrives, and one that says beforehand that it does not fit is refused before it is read. What is refused
releases what it had, so that the others get through: however much is sent at once, some of it is always taken in. Whatever
its size, a request that is alone is not refused: what one may have is bounded elsewhere (``body.limit_of``, ``MAX_ANSWER_BYTES``).
Requests that wait for tasks to end are counted apart (``Hold.move_to``): they last long, and must not keep submits out.
While it is worked on, a byte is in memory up to about four times: as it came, decoded, packed for the store, in a socket.
"""

from dataclasses import dataclass
from typing import Final

from fastapi import Request

from regrow.gateway.guard import App, Receive, Scope, Send
from regrow.gateway.problems import ApiError

HOLD: Final = "regrow.hold"  # key in a request's scope


@dataclass(slots=True)
class Inflight:
    """The bytes of all requests."""

    limit_bytes: int
    used_bytes: int = 0


@dataclass(slots=True)
class Hold:
    """Those of one request."""

    inflight: Inflight
    held_bytes: int = 0

    def check(self, more_bytes: int) -> None:
        """Raises ApiError: busy, if there is no room for so many more now."""
        others_bytes = self.inflight.used_bytes - self.held_bytes
        if others_bytes and self.inflight.used_bytes + more_bytes > self.inflight.limit_bytes:
            raise ApiError("busy", "too much is on its way through this gateway: send this again in a moment")

    def grow(self, more_bytes: int) -> None:
        """Count these too.  Raises ApiError: busy."""
        self.check(more_bytes)
        self.inflight.used_bytes += more_bytes
        self.held_bytes += more_bytes

    def move_to(self, other: Inflight) -> None:
        """Have all of it counted there.  Raises ApiError: busy."""
        moved_bytes = self.held_bytes
        self.release()
        self.inflight = other
        self.grow(moved_bytes)

    def release(self) -> None:
        """Nothing of it is here any more; twice does no harm."""
        self.inflight.used_bytes -= self.held_bytes
        self.held_bytes = 0


class Holding:
    """ASGI middleware: every request has a Hold, which ends with it."""

    def __init__(self, app: App, inflight: Inflight) -> None:
        self._app = app
        self._inflight = inflight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hold = scope[HOLD] = Hold(self._inflight)
        try:
            await self._app(scope, receive, send)
        finally:
            hold.release()


def hold_of(request: Request) -> Hold:
    """The one of this request."""
    hold: Hold = request.scope[HOLD]
    return hold
