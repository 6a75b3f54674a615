"""Shell: bodies in and out: size and time limits while reading, JSON and msgpack both ways.

An answer's ``bytes`` become base64 text in JSON and stay raw in msgpack: msgspec's encoders differ in exactly that.
"""

import asyncio
from typing import Any, Final

import msgspec
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from regrow.gateway.guard import Receive, Scope, Send
from regrow.gateway.inflight import hold_of
from regrow.gateway.problems import ApiError

READ_S: Final = 60.0  # a body must be here within this
SMALL_BYTES: Final = 64 * 1024  # answers up to here are bounded by the number of connections
PIECE_BYTES: Final = 256 * 1024
MSGPACK: Final = "application/msgpack"
JSON: Final = "application/json"


def limit_of(max_payload_bytes: int) -> int:
    """Largest body for payloads of ``max_payload_bytes``: base64, wrapped into lines, and something round it."""
    return max_payload_bytes * 3 // 2 + 64 * 1024


async def read(request: Request, limit: int) -> Any:
    """The decoded body.  Raises ApiError: too_large, busy, body_timeout, malformed_body."""
    raw = await _raw(request, limit)
    is_msgpack = request.headers["content-type"].lower().startswith(MSGPACK)
    try:
        return msgspec.msgpack.decode(raw) if is_msgpack else msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError("malformed_body", f"the body is not {'msgpack' if is_msgpack else 'JSON'}: {error}") from None


async def _raw(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    hold = hold_of(request)
    if declared.isdigit():
        if int(declared) > limit:
            raise too_large(int(declared), limit)
        hold.check(int(declared))
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(READ_S):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise too_large(size, limit)
                hold.grow(len(part))
                parts.append(part)
    except TimeoutError:
        raise ApiError("body_timeout", f"send the body within {READ_S:g} s") from None
    except ClientDisconnect:
        raise ApiError("malformed_body", "the client went away before the end of its body") from None
    return b"".join(parts)


def too_large(size: int, limit: int) -> ApiError:
    """The refusal of ``size`` bytes."""
    return ApiError(
        "too_large", f"{size:,} bytes are more than {limit:,}: send less, or raise REGROW_MAX_PAYLOAD_BYTES"
    )


def results(request: Request, content: Any) -> Response:
    """An answer that may be large, and then counts until its client has it.  Raises ApiError: busy."""
    response = answer(request, content)
    if len(response.body) <= SMALL_BYTES:
        return response
    hold_of(request).grow(len(response.body))
    return InPieces(response.body, response.status_code, dict(response.headers))


class InPieces(Response):
    """An answer whose client sets the pace: the next piece is sent when there is room, and so its end means its arrival."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(self.body)
        for at in range(0, len(body), PIECE_BYTES):
            await send({"type": "http.response.body", "body": bytes(body[at : at + PIECE_BYTES]), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def answer(request: Request, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """``content`` in the format that the request accepts: msgpack if it names that, else JSON."""
    if MSGPACK in request.headers.get("accept", ""):
        return Response(msgspec.msgpack.encode(content), status, headers, MSGPACK)
    return Response(msgspec.json.encode(content), status, headers, JSON)
