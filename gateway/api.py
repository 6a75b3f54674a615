"""Shell: the REST API as an ASGI application: its layers and its errors; routes are in *_routes.py, what they do in service.py.

::

    request ─▶ Meter ─▶ Guard ─▶ Holding ─▶ Slashes ─▶ route ─▶ body.read ─▶ schemas ─▶ Service ─▶ views ─▶ body.answer
                                                        └────────── any error ──▶ problems ──▶ problem+json

``create_app`` is a factory with settings from the environment, for any ASGI server:
``uvicorn --factory regrow.gateway.api:create_app``.
"""

import os
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from regrow.actors.astore import AsyncStore
from regrow.actors.events import Event
from regrow.actors.settings import Settings, build
from regrow.gateway import (
    docs_page,
    event_routes,
    function_routes,
    letters,
    official_routes,
    openapi,
    probes,
    problems,
    schemas,
    task_routes,
    tree_routes,
)
from regrow.gateway.guard import App, Guard, Receive, Scope, Send
from regrow.gateway.inflight import Holding, Inflight
from regrow.gateway.letters import Letters
from regrow.gateway.metrics import Meter, Metrics
from regrow.gateway.problems import ApiError
from regrow.gateway.service import Service
from regrow.gateway.tree import NoTree, Tree
from regrow.runtime.errors import ConfigError, RegrowError
from regrow.runtime.logs import log

ROUTERS: Final = (
    official_routes.router, function_routes.router, task_routes.router, tree_routes.router, letters.routes,
    event_routes.router, probes.router,
)  # fmt: skip


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
    for router in ROUTERS:
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
        story = "".join(
            traceback.format_exception(error)
        )  # under another server than ours a logger would add all locals
        log.error(Event.GATEWAY_ERROR, route=request.url.path, exception=story)
    headers = problems.headers(found) | {"content-type": problems.MEDIA_TYPE}
    return Response(msgspec.json.encode(problems.content(found)), problems.KINDS[found.problem].status, headers)


def _misfits(error: RequestValidationError) -> tuple[str, list[dict[str, str]]]:
    misfits = [{"field": str(detail["loc"][-1]), "message": detail["msg"]} for detail in error.errors()]
    return "; ".join(f"{misfit['field']}: {misfit['message']}" for misfit in misfits), misfits
