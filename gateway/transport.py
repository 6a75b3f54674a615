"""Shell: HTTP to one gateway, with patience.

Every call may be repeated: submits carry idempotency keys, the others do no harm.  What is done when one fails:

====================================  =====================  ============
what happened                         may have been done     then
====================================  =====================  ============
no connection could be made           no                     tried again
429                                   no                     tried again
503                                   yes: the gateway may   tried again
                                      have asked its store
connection lost, no answer in time    yes                    tried again
502, 504 (a proxy lost the answer)    yes                    tried again
an answer that cannot be read         yes                    an error
other 4xx, 500                        not for us to say      Refused
====================================  =====================  ============

Trying again goes on with growing, jittered pauses until there has been no good answer for ``patience_s``; then
GatewayUnavailable, or SubmitUnknown for a submit that may have been carried out by one of the tries.
A gateway that restarts, and a store that is away for a moment, are thus interruptions, not errors.
"""

import asyncio
import io
import random
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from regrow.gateway.answers import Problem, encode
from regrow.gateway.client_errors import ClientClosed, ClientError, GatewayUnavailable, Refused, SubmitUnknown
from regrow.runtime.errors import ConfigError

PATIENCE_S: Final = 30.0
ANSWER_S: Final = 30.0  # silence, beyond what the gateway was asked to wait, after which an answer counts as lost
CONNECT_S: Final = 5.0
CONTACT_S: Final = 1.0  # a long poll that was lost after this time had reached a living gateway: patience starts anew
KEEP_ALIVE_S: Final = (
    2.0  # idle connections are dropped well before the gateway drops them, so no call meets a closing one
)
CONNECTIONS: Final = 16
PIECEMEAL_BYTES: Final = 256 * 1024
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
MSGPACK: Final = "application/msgpack"
HEADERS: Final = {"Content-Type": MSGPACK, "Accept": MSGPACK}
_read_problem: Final = {
    MSGPACK: msgspec.msgpack.Decoder(Problem).decode,
    "application/problem+msgpack": msgspec.msgpack.Decoder(Problem).decode,
    "application/problem+json": msgspec.json.Decoder(Problem).decode,
    "application/json": msgspec.json.Decoder(Problem).decode,
}


class _TryAgain(Exception):
    """The call failed for now.  ``may_be_done``: the gateway may act on it.  ``is_lost``: it was sent, and not answered."""

    def __init__(self, why: str, *, may_be_done: bool, is_lost: bool = False, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.may_be_done = may_be_done
        self.is_lost = is_lost
        self.after_s = after_s


class Transport:
    """One gateway's address and the connections to it.  Belongs to the event loop that first uses it."""

    def __init__(self, url: str, patience_s: float = PATIENCE_S) -> None:
        """Opens nothing yet.  Raises ConfigError for an address that cannot be one."""
        self.url = checked_url(url)
        self.patience_s = patience_s
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def call(
        self,
        method: str,
        path: str,
        answer: "msgspec.msgpack.Decoder[Any]",
        body: object = None,
        *,
        wait_s: float = 0.0,
        is_submit: bool = False,
    ) -> Any:
        """The decoded answer to one call that the gateway may take ``wait_s`` seconds to give.

        Raises Refused, GatewayUnavailable, SubmitUnknown (of a submit only) and ClientClosed.
        """
        data = None if body is None else encode(body)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self.patience_s
        failed: type[ClientError] = GatewayUnavailable
        for pause_s in pauses():
            started_at = loop.time()
            try:
                return self._decoded(await self._once(method, path, data, wait_s), answer, is_submit)
            except _TryAgain as trouble:
                if is_submit and trouble.may_be_done:
                    failed = SubmitUnknown
                if wait_s and trouble.is_lost and loop.time() - started_at > CONTACT_S:
                    give_up_at = min(loop.time(), started_at + wait_s) + self.patience_s
                pause_s = max(pause_s, trouble.after_s)
                if loop.time() + pause_s > give_up_at:
                    raise failed(self._no_answer(trouble)) from trouble
            await asyncio.sleep(pause_s)
        raise AssertionError("pauses never end")

    def _decoded(self, content: bytes, answer: "msgspec.msgpack.Decoder[Any]", is_submit: bool) -> Any:
        try:
            return answer.decode(content)
        except msgspec.DecodeError as error:
            kind = SubmitUnknown if is_submit else ClientError
            raise kind(f"{self.url} gave an answer that cannot be read: {error}") from error

    async def _once(self, method: str, path: str, data: bytes | None, wait_s: float) -> bytes:
        """The bytes of a good answer.  Raises _TryAgain and Refused."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=wait_s + ANSWER_S)
        try:
            async with self._open().request(method, self.url + path, data=_body(data), timeout=timeout) as response:
                content = await response.read()
                if response.status < 400:
                    return content
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _TryAgain(_shown(error), may_be_done=False) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _TryAgain(_shown(error), may_be_done=True, is_lost=True) from error
        raise _complaint(response, content)

    def _open(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise ClientClosed("this client is closed")
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_S)
            self._session = aiohttp.ClientSession(connector=connector, headers=HEADERS)
        return self._session

    def _no_answer(self, trouble: _TryAgain) -> str:
        return f"no good answer from {self.url} for {self.patience_s:g} s ({trouble}): is the gateway running there?"

    async def close(self) -> None:
        """Drop all connections; a second call does nothing."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()


def pauses() -> Iterator[float]:
    """Seconds to pause before each next try: doubling, with jitter so that many clients do not return as one."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s * random.uniform(0.5, 1.0)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _body(data: bytes | None) -> bytes | io.BytesIO | None:
    """A large body in a form that is written in pieces, with the loop free in between."""
    return io.BytesIO(data) if data is not None and len(data) > PIECEMEAL_BYTES else data


def checked_url(url: str) -> str:
    """``http://host:port`` without a slash at its end.  Raises ConfigError."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"{url!r} is no gateway address: use one like http://127.0.0.1:8000")
    return url.rstrip("/")


def _complaint(response: aiohttp.ClientResponse, content: bytes) -> Exception:
    """What an answer of 400 and above means."""
    problem = _problem(response.content_type, content)
    text = problem.detail or problem.title or response.reason or ""
    if response.status in {429, 503}:
        after_s = _seconds(response.headers.get("Retry-After", ""))
        return _TryAgain(f"{response.status} {text}", may_be_done=response.status == 503, after_s=after_s)
    if response.status in {502, 504}:
        return _TryAgain(f"{response.status} {text}", may_be_done=True, is_lost=True)
    return Refused(response.status, problem.code, text)


def _problem(content_type: str, content: bytes) -> Problem:
    read = _read_problem.get(content_type)
    try:
        return read(content) if read else Problem()
    except msgspec.DecodeError:
        return Problem()


def _seconds(text: str) -> float:
    """Of a Retry-After header; a date, or nonsense, is left to our own pauses."""
    return float(text) if text.isdecimal() else 0.0


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
