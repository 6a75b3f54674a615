"""Shell: calls to a gateway, each made once and never repeated, so that what is not known stays unknown.

What became of a call that failed: it *certainly* had no effect if no connection was made or the gateway refused it (4xx);
nobody knows if the connection was lost, no answer came in time, or the answer was 5xx.
"""

from typing import Any, Final, Self, TypeVar

import aiohttp
import msgspec

from regrow.gateway.answers import (
    FunctionAnswer,
    FunctionRequest,
    Problem,
    SubmitAnswer,
    TaskView,
    WaitAnswer,
    WaitRequest,
)
from regrow.runtime.errors import RegrowError

MSGPACK: Final = "application/msgpack"
HEADERS: Final = {"Content-Type": MSGPACK, "Accept": MSGPACK}
CONNECTIONS: Final = 500
CONNECT_S: Final = 5.0
ANSWER_S: Final = 10.0  # beyond what the gateway was asked to wait
KEEP_ALIVE_S: Final = 2.0  # well below the gateway's own, so that no call meets a connection that it is about to close
T = TypeVar("T")
_problem = msgspec.json.Decoder(Problem).decode
_problem_packed = msgspec.msgpack.Decoder(Problem).decode
encode = msgspec.msgpack.Encoder().encode


class NoAnswer(RegrowError):
    """A call failed.  ``problem``: the code of the gateway's answer, or what happened to the connection."""

    code = "no_answer"

    def __init__(self, problem: str, *, is_certain: bool, detail: str = "") -> None:
        super().__init__(f"{problem}{': ' + detail if detail else ''}")
        self.problem = problem
        self.is_certain = is_certain


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """One task of POST /v1/tasks.  Without an idempotency key a repeated one is another task."""

    function_id: str
    payload: bytes
    idempotency_key: str | None = None


class Calls(msgspec.Struct, frozen=True):
    """POST /v1/tasks."""

    tasks: list[Call]


class Door:
    """One gateway, as a client sees it.  Belongs to the event loop that first uses it."""

    def __init__(self, url: str) -> None:
        self.url = url
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_S)
        self.session = aiohttp.ClientSession(connector=connector)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def register(self, request: FunctionRequest) -> str:
        """A new function's id."""
        return (await self._ask("POST", "/v1/functions", FunctionAnswer, request)).function_id

    async def submit(self, calls: list[Call]) -> SubmitAnswer:
        """One answer for each."""
        return await self._ask("POST", "/v1/tasks", SubmitAnswer, Calls(calls))

    async def ended(self, ids: list[str], wait_s: float = 0.0) -> WaitAnswer:
        """Those of many tasks that have ended, once there are any."""
        return await self._ask("POST", "/v1/tasks/wait", WaitAnswer, WaitRequest(ids, wait_s), wait_s)

    async def task(self, task_id: str) -> TaskView:
        """One task, as it is now."""
        return await self._ask("GET", f"/v1/tasks/{task_id}", TaskView)

    async def cancel(self, task_id: str) -> TaskView:
        """The task, when it has been cancelled, or as it had ended before."""
        return await self._ask("DELETE", f"/v1/tasks/{task_id}", TaskView)

    async def _ask(self, method: str, path: str, kind: type[T], body: object = None, wait_s: float = 0.0) -> T:
        timeout = aiohttp.ClientTimeout(total=wait_s + ANSWER_S, sock_connect=CONNECT_S)
        data = None if body is None else encode(body)
        try:
            async with self.session.request(
                method, self.url + path, data=data, headers=HEADERS, timeout=timeout
            ) as answer:
                content = await answer.read()
                if answer.status >= 400:
                    raise _refusal(answer.status, answer.content_type, content)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NoAnswer("no_connection", is_certain=True, detail=str(error)) from error
        except TimeoutError as error:
            raise NoAnswer("no_answer_in_time", is_certain=False) from error
        except (aiohttp.ClientError, OSError) as error:
            raise NoAnswer("connection_lost", is_certain=False, detail=str(error)) from error
        return _decoded(content, kind)


def is_certain(status: int) -> bool:
    """Whether an answer with this HTTP status says that nothing was done."""
    return 400 <= status < 500


def _refusal(status: int, media_type: str, content: bytes) -> NoAnswer:
    try:
        problem: Any = (_problem if media_type.endswith("json") else _problem_packed)(content)
    except msgspec.DecodeError:
        problem = Problem(f"http_{status}")
    return NoAnswer(problem.code, is_certain=is_certain(status), detail=problem.detail)


def _decoded(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise NoAnswer("unreadable_answer", is_certain=False, detail=str(error)) from error
