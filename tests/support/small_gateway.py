"""A small, real HTTP server that plays /v1 of the gateway: it runs what it is sent in its own process.

For tests of the client: it counts calls, keeps its tasks over ``restarted``, holds tasks back, and commits planned faults.
"""

import asyncio
import contextlib
import threading
import time
import traceback
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import dill
import msgspec
from aiohttp import web

MSGPACK = "application/msgpack"


class SmallGateway:
    """Serves on a loopback port from a thread of its own, from ``start`` to ``stop``."""

    def __init__(self) -> None:
        self.port = 0
        self.functions: dict[str, bytes] = {}
        self.terms: dict[str, dict[str, Any]] = {}  # function id -> what else it was registered with
        self.options: dict[str, dict[str, Any]] = {}  # task id -> what else it was submitted with
        self.tasks: dict[str, dict[str, Any]] = {}
        self.params: dict[str, bytes] = {}
        self.batches: list[int] = []  # tasks of each submit call
        self.calls: Counter[str] = Counter()
        self.faults: dict[
            str, deque[str]
        ] = {}  # path -> "drop" (act, then cut), "late" (act, then 503), "cut", "429", "503", "500", "nonsense"
        self.refusals: deque[str] = deque()  # codes with which the next single tasks are refused
        self.polls = 0  # wait calls under way
        self.is_holding = False
        self._held: list[str] = []
        self._main: tuple[asyncio.AbstractEventLoop, asyncio.Event, threading.Thread] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        is_ready = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(is_ready)))
        thread.start()
        assert is_ready.wait(10)

    def stop(self) -> None:
        assert self._main is not None
        loop, end, thread = self._main
        loop.call_soon_threadsafe(end.set)
        thread.join()

    def release(self, only: Callable[[str], bool] = lambda _: True) -> None:
        """Run what was held back, as far as ``only`` says yes to its task id."""
        assert self._main is not None
        self._main[0].call_soon_threadsafe(self._release, only)

    def _release(self, only: Callable[[str], bool]) -> None:
        chosen = [task_id for task_id in self._held if only(task_id)]
        self._held = [task_id for task_id in self._held if not only(task_id)]
        for task_id in chosen:
            self._run(task_id)

    async def _serve(self, is_ready: threading.Event) -> None:
        app = web.Application(client_max_size=100 * 1024 * 1024, middlewares=[self._count])
        app.router.add_post("/v1/functions", self._register)
        app.router.add_post("/v1/tasks", self._submit)
        app.router.add_post("/v1/tasks/wait", self._wait)
        app.router.add_post("/v1/tasks/cancel", self._cancel)
        app.router.add_get("/v1/tasks/{id}", self._task)
        app.router.add_get("/v1/workers", self._workers)
        app.router.add_get("/v1/tree", self._tree)
        app.router.add_patch("/v1/pools/workers", self._scale)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ended = asyncio.Condition()
        end = asyncio.Event()
        self._main = asyncio.get_running_loop(), end, threading.current_thread()
        is_ready.set()
        await end.wait()
        await runner.cleanup()
        await asyncio.sleep(0)  # the loop's next turn closes what was aborted

    @web.middleware
    async def _count(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.calls[request.path] += 1
        fault = self.faults[request.path].popleft() if self.faults.get(request.path) else ""
        if fault in {"429", "503"}:
            problem = {"code": "queue_full", "detail": "come back"}
            return web.json_response(problem, status=int(fault), headers={"Retry-After": "0"})
        if fault == "500":
            return web.Response(status=500, text="oh")
        if fault == "nonsense":
            return web.Response(text="<html>a captive portal</html>")
        if fault == "cut":
            assert request.transport is not None
            request.transport.abort()
            raise asyncio.CancelledError
        response: web.StreamResponse = await handler(request)
        if fault == "late":
            return web.json_response({"code": "store_unavailable"}, status=503, headers={"Retry-After": "0"})
        if fault == "drop":
            assert request.transport is not None
            request.transport.abort()
        return response

    async def _body(self, request: web.Request) -> Any:
        assert request.content_type == MSGPACK
        return msgspec.msgpack.decode(await request.read())

    async def _register(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        function_id = str(uuid.uuid4())
        self.functions[function_id] = body.pop("payload")
        self.terms[function_id] = {name: value for name, value in body.items() if name != "name"}
        return answer({"function_id": function_id, "digest": "", "warnings": []})

    async def _submit(self, request: web.Request) -> web.Response:
        items = (await self._body(request))["tasks"]
        self.batches.append(len(items))
        return answer({"tasks": [self._accept(item) for item in items]})

    def _accept(self, item: dict[str, Any]) -> dict[str, Any]:
        code = self.refusals.popleft() if self.refusals else ""
        if code or item["function_id"] not in self.functions:
            code = code or "unknown_function"
            return {"error": {"code": code, "title": code, "status": 404, "detail": f"refused: {code}"}}
        task_id = str(uuid.uuid5(uuid.NAMESPACE_OID, item["idempotency_key"]))
        if task_id in self.tasks:
            return {"task_id": task_id}
        self.tasks[task_id] = {"task_id": task_id, "function_id": item["function_id"], "status": "QUEUED"}
        self.params[task_id] = item["payload"]
        known = ("function_id", "payload", "idempotency_key")
        self.options[task_id] = {name: value for name, value in item.items() if name not in known}
        if self.is_holding:
            self._held.append(task_id)
        else:
            asyncio.get_running_loop().call_soon(self._run, task_id)
        return {"task_id": task_id}

    def _run(self, task_id: str) -> None:
        task = self.tasks[task_id]
        task["attempts"] = [{"number": 1, "worker": "w", "started_at": time.time(), "ended_at": None, "outcome": ""}]
        try:
            function = dill.loads(self.functions[task["function_id"]])
            args, kwargs = dill.loads(self.params.pop(task_id))
            task |= {"result": cloudpickle.dumps(function(*args, **kwargs)), "status": "COMPLETED"}
        except BaseException as error:
            text = traceback.format_exc()
            about = {"kind": "raised", "type": type(error).__name__, "message": str(error), "traceback": text}
            task |= {"error": about | {"exception": pickled(error)}, "status": "FAILED"}
        self._tell = asyncio.ensure_future(self._notify())

    async def _notify(self) -> None:
        async with self._ended:
            self._ended.notify_all()

    async def _cancel(self, request: web.Request) -> web.Response:
        """What is held back is QUEUED; nothing runs for longer than a moment."""
        body = await self._body(request)
        told: dict[str, list[str]] = {"cancelled": [], "ended": [], "running": [], "unknown": []}
        for task_id in body["task_ids"]:
            task = self.tasks.get(task_id)
            if task_id in self._held and task:
                self._held.remove(task_id)
                error = {"kind": "cancelled", "type": "Cancelled", "message": "it was cancelled"}
                task |= {"status": "FAILED", "error": error}
            is_cancelled = task is not None and task.get("error", {}).get("kind") == "cancelled"
            told["unknown" if task is None else "cancelled" if is_cancelled else "ended"].append(task_id)
        await self._notify()
        return answer(told)

    async def _wait(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        self.polls += 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(body["wait_s"]), self._ended:
                    await self._ended.wait_for(lambda: any(self._is_settled(i) for i in body["task_ids"]))
        finally:
            self.polls -= 1
        known = [self.tasks[i] for i in body["task_ids"] if i in self.tasks]
        unknown = [i for i in body["task_ids"] if i not in self.tasks]
        return answer({"tasks": [task for task in known if self._is_settled(task["task_id"])], "unknown": unknown})

    def _is_settled(self, task_id: str) -> bool:
        return self.tasks.get(task_id, {"status": "FAILED"})["status"] in {"COMPLETED", "FAILED"}

    async def _task(self, request: web.Request) -> web.Response:
        task_id = request.match_info["id"]
        if task_id not in self.tasks:
            problem = {"code": "unknown_task", "detail": f"no task {task_id}", "status": 404, "title": "t", "type": "x"}
            return web.json_response(problem, status=404, content_type="application/problem+json")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(float(request.query.get("wait_s", 0))), self._ended:
                await self._ended.wait_for(lambda: self._is_settled(task_id))
        return answer(self.tasks[task_id])

    async def _workers(self, _: web.Request) -> web.Response:
        return answer({"workers": [{"name": "w", "slots": 2}]})

    async def _tree(self, _: web.Request) -> web.Response:
        return answer({"name": "root", "role": "root", "children": []})

    async def _scale(self, request: web.Request) -> web.Response:
        return answer({"size": (await self._body(request))["size"]})


def answer(content: object) -> web.Response:
    return web.Response(body=msgspec.msgpack.encode(content), content_type=MSGPACK)


def pickled(error: BaseException) -> bytes | None:
    try:
        return cloudpickle.dumps(error)
    except Exception:
        return None


@contextlib.contextmanager
def running() -> Iterator[SmallGateway]:
    """A started gateway, stopped in the end."""
    gateway = SmallGateway()
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()
