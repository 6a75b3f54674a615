"""Shell: keeps web pages out: a browser on this machine can reach the gateway, and must not become somebody's hand.

Every request, whatever its method, is refused unless

- its Host is a name of the loopback interface, with any port (a name that an attacker's DNS points here is not): 421;
- its Origin, if it has one, is exactly the origin that the Host names, or the request comes from another page: 403;
- its body, on POST, PUT and PATCH, is declared as JSON or msgpack, which no HTML form can send: 415.

Refusals come before any body is read.  There are no CORS headers, so no page can read an answer either.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec

from regrow.gateway import problems
from regrow.gateway.problems import ApiError

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
MEDIA_TYPES: Final = frozenset({"application/json", "application/msgpack"})
WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def objection(scope: Scope) -> ApiError | None:
    """Why this request is refused, if it is."""
    values: dict[bytes, list[str]] = {}
    for name, value in scope["headers"]:
        values.setdefault(name, []).append(value.decode("latin-1").strip())
    host = values.get(b"host", [])
    if len(host) != 1 or not is_loopback(host[0]):
        return ApiError("foreign_host", "address the gateway as 127.0.0.1, localhost or [::1], in the Host header too")
    if any(origin.lower() != f"{scope['scheme']}://{host[0].lower()}" for origin in values.get(b"origin", [])):
        return ApiError("foreign_origin", "a page of another origin sent this; use a client that is no web page")
    if scope["method"] in WITH_BODY and not _is_readable(values):
        return ApiError(
            "unsupported_media_type", "send Content-Type: application/json or application/msgpack, uncompressed"
        )
    return None


def is_loopback(host: str) -> bool:
    """Whether a Host header names this machine's loopback interface; the port may be any."""
    name, colon, port = host.lower().rpartition(":")
    if colon and port.isascii() and port.isdigit() and len(port) <= 5:
        return name in LOOPBACK
    return host.lower() in LOOPBACK


def _is_readable(values: dict[bytes, list[str]]) -> bool:
    kinds = values.get(b"content-type", [])
    is_plain = set(values.get(b"content-encoding", [])) <= {"identity"}
    return is_plain and len(kinds) == 1 and kinds[0].partition(";")[0].strip().lower() in MEDIA_TYPES


class Guard:
    """ASGI middleware that answers a refused request itself."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = objection(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
            return
        body = msgspec.json.encode(problems.content(error))
        headers = [
            (b"content-type", problems.MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),  # its body is not read, so nothing can follow on this connection
        ]
        status = problems.KINDS[error.problem].status
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
