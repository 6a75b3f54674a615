"""Shell: the routes of functions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from regrow.actors.task import FunctionId
from regrow.gateway import body, schemas, views
from regrow.gateway.openapi import gives, takes
from regrow.gateway.request import said, service_of

router = APIRouter(prefix="/v1/functions", tags=["v1"])


@router.post("", openapi_extra=takes("NewFunction"), responses=gives("Registered", 400, 413, 415, 422, 429, 503))
async def new_function(request: Request) -> Response:
    """Register a function."""
    asked = await said(request, schemas.NewFunction)
    record, warnings = await service_of(request).register(asked)
    return body.answer(request, views.Registered(record.function_id, record.digest, warnings))


@router.get("", responses=gives("Functions", 422, 503))
async def functions(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: UUID | None = None,
) -> Response:
    """Registered functions, oldest first, page by page."""
    found = await service_of(request).functions(limit + 1, FunctionId(str(after)) if after else None)
    page = [views.function(record) for record in found[:limit]]
    return body.answer(request, views.Functions(page, page[-1].function_id if len(found) > limit else None))


@router.get("/{function_id}", responses=gives("Function", 404, 422, 503))
async def one_function(request: Request, function_id: UUID) -> Response:
    """A registered function."""
    return body.answer(request, views.function(await service_of(request).function(FunctionId(str(function_id)))))


@router.delete("/{function_id}", responses=gives("Forgotten", 404, 422, 503))
async def forget_function(request: Request, function_id: UUID) -> Response:
    """Delete a function: it cannot be called any more, and what was submitted before still runs."""
    await service_of(request).forget(FunctionId(str(function_id)))
    return body.answer(request, views.Forgotten(str(function_id)))
