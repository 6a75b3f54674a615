"""Shell: the routes of tasks: submit, look, wait, cancel."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from regrow.actors.task import TaskId
from regrow.gateway import body, problems, schemas, views
from regrow.gateway.inflight import hold_of
from regrow.gateway.openapi import gives, takes
from regrow.gateway.problems import ApiError
from regrow.gateway.request import said, service_of

router = APIRouter(prefix="/v1/tasks", tags=["v1"])
Seconds = Annotated[float, Query(ge=0, allow_inf_nan=False, description=f"at most {schemas.MAX_WAIT_S:g}")]


@router.post("", openapi_extra=takes("NewTasks"), responses=gives("Submitted", 400, 413, 415, 422, 429, 503))
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


@router.get("/{task_id}", responses=gives("Task", 404, 422, 429, 503))
async def one_task(request: Request, task_id: UUID, wait_s: Seconds = 0.0) -> Response:
    """A task, when it has ended or ``wait_s`` seconds are over."""
    return body.results(request, views.task(await service_of(request).ended_task(TaskId(str(task_id)), wait_s)))


@router.delete("/{task_id}", responses=gives("Task", 404, 422, 503))
async def cancel(request: Request, task_id: UUID) -> Response:
    """Cancel a task: it is FAILED, kind cancelled, from here on, and is killed if it runs. One that has ended stays as it is."""
    service, known = service_of(request), TaskId(str(task_id))
    await service.cancel([known])
    return body.answer(request, views.task(await service.task(known)))


@router.post("/cancel", openapi_extra=takes("Cancel"), responses=gives("Cancelled", 400, 413, 415, 422, 503))
async def cancel_many(request: Request) -> Response:
    """Cancel many tasks; with ``only_queued`` those that run go on."""
    asked = await said(request, schemas.Cancel)
    ids = [TaskId(task_id) for task_id in asked.task_ids]
    verdicts = await service_of(request).cancel(ids, only_queued=asked.only_queued)
    return body.answer(request, views.cancelled(ids, verdicts))


@router.post("/wait", openapi_extra=takes("Wait"), responses=gives("Ended", 400, 413, 415, 422, 429, 503))
async def wait(request: Request) -> Response:
    """Those of many tasks that have ended, as soon as there are any, or after ``wait_s`` seconds."""
    asked = await said(request, schemas.Wait)
    hold_of(request).move_to(request.app.state.waits)
    records, unknown = await service_of(request).ended([TaskId(task_id) for task_id in asked.task_ids], asked.wait_s)
    return body.results(request, views.Ended([views.task(record) for record in records], list(unknown)))
