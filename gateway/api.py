"""Shell: the REST API as an ASGI application: routes, and nothing else; what they do is in service.py.

::

    request ─▶ Meter ─▶ Guard ─▶ Holding ─▶ Slashes ─▶ route ─▶ body.read ─▶ schemas ─▶ Service ─▶ views ─▶ body.answer
                                                        └────────── any error ──▶ problems ──▶ problem+json

``create_app`` is a factory with settings from the environment, for any ASGI server:
``uvicorn --factory regrow.gateway.api:create_app``.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from regrow.actors.astore import AsyncStore
from regrow.actors.events import Event
from regrow.actors.settings import Settings, build
from regrow.actors.task import FunctionId, TaskId
from regrow.gateway import body, docs_page, event_routes, letters, openapi, problems, schemas, views
from regrow.gateway.guard import App, Guard, Receive, Scope, Send
from regrow.gateway.inflight import Holding, Inflight, hold_of
from regrow.gateway.letters import Letters
from regrow.gateway.metrics import MEDIA_TYPE, Meter, Metrics
from regrow.gateway.openapi import gives, takes
from regrow.gateway.problems import ApiError
from regrow.gateway.request import said, service_of
from regrow.gateway.service import NoTree, Service, Tree
from regrow.runtime.errors import ConfigError, RegrowError, StoreError
from regrow.runtime.logs import log

official = APIRouter(tags=["official"])
v1 = APIRouter(prefix="/v1", tags=["v1"])
probes = APIRouter(tags=["probes"])
Seconds = Annotated[float, Query(ge=0, allow_inf_nan=False, description=f"at most {schemas.MAX_WAIT_S:g}")]


def create_app() -> FastAPI:
    """The application, set up by REGROW_... variables.  Raises ConfigError."""
    return make_app(build(os.environ))


def make_app(settings: Settings, tree: Tree | None = None) -> FastAPI:
    """The application; ``tree`` is None for a gateway that runs by itself.  Raises ConfigError."""
    if not settings.redis_url:
        raise ConfigError(
            "a gateway by itself needs --redis-url (REGROW_REDIS_URL): the store of the tree whose door it should be, "
            "as DATA_DIR/endpoints.json names it; or start everything with regrow up"
        )
    store = AsyncStore.connect(settings.redis_url)
    service = Service(settings, store, tree or NoTree())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title=openapi.TITLE,
        version=openapi.VERSION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service, app.state.metrics = service, Metrics()
    app.state.inflight, app.state.waits = (Inflight(settings.max_inflight_bytes) for _ in range(2))
    app.state.letters = Letters(service, store)
    for router in (official, v1, letters.routes, event_routes.router, probes):
        app.include_router(router)
    docs_page.add_to(app)
    for kind in (RegrowError, schemas.Misfit, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _problem)
    app.add_middleware(Slashes)
    app.add_middleware(Holding, inflight=app.state.inflight)
    app.add_middleware(Guard)
    app.add_middleware(Meter, metrics=app.state.metrics)
    document = openapi.document(app)
    app.openapi = lambda: document  # type: ignore[method-assign]
    return app


class Slashes:
    """ASGI middleware: a path with a trailing slash is the path without."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and len(scope["path"]) > 1 and scope["path"].endswith("/"):
            scope["path"] = scope["path"].rstrip("/") or "/"
        await self._app(scope, receive, send)


async def _problem(request: Request, error: Exception) -> Response:
    """The answer to an error, by the table."""
    match error:
        case RequestValidationError():
            found = ApiError("invalid", *_misfits(error))
        case HTTPException(status_code=404):
            found = ApiError("not_found", f"no route {request.url.path}: /openapi.json lists them all")
        case HTTPException():
            found = ApiError("method_not_allowed", f"{request.method} {request.url.path}: /openapi.json lists what is")
        case _:
            found = problems.problem_of(error)
    if found.problem == "internal":
        log.error(Event.GATEWAY_ERROR, route=request.url.path, exc_info=error)
    headers = problems.headers(found) | {"content-type": problems.MEDIA_TYPE}
    return Response(msgspec.json.encode(problems.content(found)), problems.KINDS[found.problem].status, headers)


def _misfits(error: RequestValidationError) -> tuple[str, list[dict[str, str]]]:
    misfits = [{"field": str(detail["loc"][-1]), "message": detail["msg"]} for detail in error.errors()]
    return "; ".join(f"{misfit['field']}: {misfit['message']}" for misfit in misfits), misfits


# The official four


@official.get("/", responses=gives("Running"))
async def running(request: Request) -> Response:
    """Says that it runs; a browser is shown the API."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/docs", 303)
    return body.answer(request, views.Running("MPCSFaaS: regrow is running", openapi.VERSION, "/openapi.json"))


@official.post(
    "/register_function",
    openapi_extra=takes("RegisterFunction"),
    responses=gives("FunctionId", 400, 413, 415, 422, 429, 503),
)
async def register_function(request: Request) -> Response:
    """Register a function: the pickle of a callable."""
    asked = await said(request, schemas.RegisterFunction)
    record, _ = await service_of(request).register(asked)
    return body.answer(request, views.FunctionId(record.function_id))


@official.post(
    "/execute_function",
    openapi_extra=takes("ExecuteFunction"),
    responses=gives("TaskId", 400, 404, 413, 415, 422, 429, 503),
)
async def execute_function(request: Request) -> Response:
    """Submit one call. The payload is the pickle of ``((args...), {kwargs})``.

    A 503 leaves open whether the task was accepted; a submit that can be repeated safely is POST /v1/tasks with an
    ``idempotency_key``.
    """
    task_id = await service_of(request).submit_one(await said(request, schemas.ExecuteFunction))
    return body.answer(request, views.TaskId(task_id))


@official.get("/status/{task_id}", responses=gives("Status", 404, 422, 503))
async def status(request: Request, task_id: UUID) -> Response:
    """Where a task stands."""
    record = await service_of(request).task(TaskId(str(task_id)), with_result=False)
    return body.answer(request, views.Status(record.task_id, record.status))


@official.get("/result/{task_id}", responses=gives("Result", 404, 422, 429, 503))
async def result(request: Request, task_id: UUID) -> Response:
    """A task's result, "" while it has none; for a FAILED one the pickle of its error's text."""
    return body.results(request, views.result(await service_of(request).task(TaskId(str(task_id)))))


# Ours


@v1.post("/functions", openapi_extra=takes("NewFunction"), responses=gives("Registered", 400, 413, 415, 422, 429, 503))
async def new_function(request: Request) -> Response:
    """Register a function."""
    asked = await said(request, schemas.NewFunction)
    record, warnings = await service_of(request).register(asked)
    return body.answer(request, views.Registered(record.function_id, record.digest, warnings))


@v1.get("/functions", responses=gives("Functions", 422, 503))
async def functions(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: UUID | None = None,
) -> Response:
    """Registered functions, oldest first, page by page."""
    found = await service_of(request).functions(limit + 1, FunctionId(str(after)) if after else None)
    page = [views.function(record) for record in found[:limit]]
    return body.answer(request, views.Functions(page, page[-1].function_id if len(found) > limit else None))


@v1.get("/functions/{function_id}", responses=gives("Function", 404, 422, 503))
async def one_function(request: Request, function_id: UUID) -> Response:
    """A registered function."""
    return body.answer(request, views.function(await service_of(request).function(FunctionId(str(function_id)))))


@v1.delete("/functions/{function_id}", responses=gives("Forgotten", 404, 422, 503))
async def forget_function(request: Request, function_id: UUID) -> Response:
    """Delete a function: it cannot be called any more, and what was submitted before still runs."""
    await service_of(request).forget(FunctionId(str(function_id)))
    return body.answer(request, views.Forgotten(str(function_id)))


@v1.post("/tasks", openapi_extra=takes("NewTasks"), responses=gives("Submitted", 400, 413, 415, 422, 429, 503))
async def new_tasks(request: Request) -> Response:
    """Submit many calls. One verdict each, in order; 429 only when the queue took none of them.

    Tasks with an ``idempotency_key`` can be submitted again after a lost answer or a 503: the same key gives the same
    ``task_id``, and the task is there once.
    """
    asked = await said(request, schemas.NewTasks)
    verdicts = await service_of(request).submit(schemas.fit_tasks(asked.tasks))
    full = [verdict for verdict in verdicts if isinstance(verdict, ApiError) and verdict.problem == "queue_full"]
    if full and len(full) == len(verdicts):
        raise full[0]
    return body.answer(request, views.Submitted([problems.verdict(verdict) for verdict in verdicts]))


@v1.get("/tasks/{task_id}", responses=gives("Task", 404, 422, 429, 503))
async def one_task(request: Request, task_id: UUID, wait_s: Seconds = 0.0) -> Response:
    """A task, when it has ended or ``wait_s`` seconds are over."""
    return body.results(request, views.task(await service_of(request).ended_task(TaskId(str(task_id)), wait_s)))


@v1.delete("/tasks/{task_id}", responses=gives("Task", 404, 422, 503))
async def cancel(request: Request, task_id: UUID) -> Response:
    """Cancel a task: it is FAILED, kind cancelled, from here on, and is killed if it runs. One that has ended stays as it is."""
    service, known = service_of(request), TaskId(str(task_id))
    await service.cancel([known])
    return body.answer(request, views.task(await service.task(known)))


@v1.post("/tasks/cancel", openapi_extra=takes("Cancel"), responses=gives("Cancelled", 400, 413, 415, 422, 503))
async def cancel_many(request: Request) -> Response:
    """Cancel many tasks; with ``only_queued`` those that run go on."""
    asked = await said(request, schemas.Cancel)
    ids = [TaskId(task_id) for task_id in asked.task_ids]
    verdicts = await service_of(request).cancel(ids, only_queued=asked.only_queued)
    return body.answer(request, views.cancelled(ids, verdicts))


@v1.post("/tasks/wait", openapi_extra=takes("Wait"), responses=gives("Ended", 400, 413, 415, 422, 429, 503))
async def wait(request: Request) -> Response:
    """Those of many tasks that have ended, as soon as there are any, or after ``wait_s`` seconds."""
    asked = await said(request, schemas.Wait)
    hold_of(request).move_to(request.app.state.waits)
    records, unknown = await service_of(request).ended([TaskId(task_id) for task_id in asked.task_ids], asked.wait_s)
    return body.results(request, views.Ended([views.task(record) for record in records], list(unknown)))


@v1.get("/workers", responses=gives("Workers", 503))
async def workers(request: Request) -> Response:
    """Every registered worker, also those of other commands and machines."""
    return body.answer(request, views.Workers(await service_of(request).workers()))


@v1.patch("/pools/workers", openapi_extra=takes("Resize"), responses=gives("Pool", 400, 409, 413, 415, 422, 429, 503))
async def resize(request: Request) -> Response:
    """Give the tree's pool of workers another size."""
    asked = await said(request, schemas.Resize)
    await service_of(request).tree.resize(asked.size)
    return body.answer(request, views.Pool(asked.size))


@v1.get("/tree", responses=gives("TreeNode", 503))
async def tree(request: Request) -> Response:
    """The supervision tree; of a gateway by itself, that alone."""
    return body.answer(request, await service_of(request).tree.snapshot())


# For those who watch


@probes.get("/healthz", responses=gives("Health"))
async def healthz(request: Request) -> Response:
    """200: the gateway answers."""
    return body.answer(request, views.Health("ok", []))


@probes.get("/readyz", responses=gives("Health") | {503: {"description": "tasks would not run now; reasons say why"}})
async def readyz(request: Request) -> Response:
    """200: the store answers, a dispatcher lives, and a worker takes tasks."""
    reasons = await service_of(request).shortcomings()
    return body.answer(request, views.Health("not_ready" if reasons else "ok", reasons), 503 if reasons else 200)


@probes.get("/metrics", responses={200: {"description": "Prometheus text", "content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Metrics for Prometheus; without the store's when it does not answer."""
    service, found = service_of(request), request.app.state.metrics
    counts, registered = None, []
    try:
        counts, registered = await service.counts(), await service.workers()
    except StoreError:
        log.warning(Event.GATEWAY_STORE_SILENT, route="/metrics")
    inflight: Inflight = request.app.state.inflight
    text: bytes = found.text(counts, registered, len(service.waiting), inflight.used_bytes)
    return Response(text, media_type=MEDIA_TYPE)
