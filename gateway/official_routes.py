"""Shell: the four calls that everything here began with, and the greeting."""

from uuid import UUID

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from regrow.actors.task import TaskId
from regrow.gateway import body, openapi, schemas, views
from regrow.gateway.openapi import gives, takes
from regrow.gateway.request import said, service_of

router = APIRouter(tags=["official"])


@router.get("/", responses=gives("Running"))
async def running(request: Request) -> Response:
    """Says that it runs; a browser is shown the API."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/docs", 303)
    return body.answer(request, views.Running("MPCSFaaS: regrow is running", openapi.VERSION, "/openapi.json"))


@router.post(
    "/register_function",
    openapi_extra=takes("RegisterFunction"),
    responses=gives("FunctionId", 400, 413, 415, 422, 429, 503),
)
async def register_function(request: Request) -> Response:
    """Register a function: the pickle of a callable."""
    asked = await said(request, schemas.RegisterFunction)
    record, _ = await service_of(request).register(asked)
    return body.answer(request, views.FunctionId(record.function_id))


@router.post(
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


@router.get("/status/{task_id}", responses=gives("Status", 404, 422, 503))
async def status(request: Request, task_id: UUID) -> Response:
    """Where a task stands."""
    record = await service_of(request).task(TaskId(str(task_id)), with_result=False)
    return body.answer(request, views.Status(record.task_id, record.status))


@router.get("/result/{task_id}", responses=gives("Result", 404, 422, 429, 503))
async def result(request: Request, task_id: UUID) -> Response:
    """A task's result, "" while it has none; for a FAILED one the pickle of its error's text."""
    return body.results(request, views.result(await service_of(request).task(TaskId(str(task_id)))))
