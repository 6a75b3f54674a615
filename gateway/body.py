"""Shell: bodies in and out: size and time limits while reading, JSON and msgpack both ways.

An answer's ``bytes`` become base64 text in JSON and stay raw in msgpack: msgspec's encoders differ in exactly that.
"""

import asyncio
from typing import Any, Final

import msgspec
from fastapi import Request, Response

from regrow.gateway.problems import ApiError

READ_S: Final = 60.0  # a body must be here within this
MSGPACK: Final = "application/msgpack"
JSON: Final = "application/json"


def limit_of(max_payload_bytes: int) -> int:
    """Largest body for payloads of ``max_payload_bytes``: base64, wrapped into lines, and something round it."""
    return max_payload_bytes * 3 // 2 + 64 * 1024


async def read(request: Request, limit: int) -> Any:
    """The decoded body.  Raises ApiError: too_large, body_timeout, malformed_body."""
    raw = await _raw(request, limit)
    is_msgpack = request.headers["content-type"].lower().startswith(MSGPACK)
    try:
        return msgspec.msgpack.decode(raw) if is_msgpack else msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError("malformed_body", f"the body is not {'msgpack' if is_msgpack else 'JSON'}: {error}") from None


async def _raw(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(int(declared), limit)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(READ_S):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise too_large(size, limit)
                parts.append(part)
    except TimeoutError:
        raise ApiError("body_timeout", f"send the body within {READ_S:g} s") from None
    return b"".join(parts)


def too_large(size: int, limit: int) -> ApiError:
    """The refusal of ``size`` bytes."""
    return ApiError(
        "too_large", f"{size:,} bytes are more than {limit:,}: send less, or raise REGROW_MAX_PAYLOAD_BYTES"
    )


def answer(request: Request, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """``content`` in the format that the request accepts: msgpack if it names that, else JSON."""
    if MSGPACK in request.headers.get("accept", ""):
        return Response(msgspec.msgpack.encode(content), status, headers, MSGPACK)
    return Response(msgspec.json.encode(content), status, headers, JSON)
