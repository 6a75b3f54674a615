"""Shell: the routes of the supervision tree and its workers."""

from fastapi import APIRouter, Request, Response

from regrow.gateway import body, schemas, views
from regrow.gateway.openapi import gives, takes
from regrow.gateway.request import said, service_of

router = APIRouter(prefix="/v1", tags=["v1"])


@router.get("/workers", responses=gives("Workers", 503))
async def workers(request: Request) -> Response:
    """Every registered worker, also those of other commands and machines."""
    return body.answer(request, views.Workers(await service_of(request).workers()))


@router.patch(
    "/pools/workers", openapi_extra=takes("Resize"), responses=gives("Pool", 400, 409, 413, 415, 422, 429, 503)
)
async def resize(request: Request) -> Response:
    """Give the tree's pool of workers another size."""
    asked = await said(request, schemas.Resize)
    await service_of(request).tree.resize(asked.size)
    return body.answer(request, views.Pool(asked.size))


@router.get("/tree", responses=gives("TreeNode", 503))
async def tree(request: Request) -> Response:
    """The supervision tree; of a gateway by itself, that alone."""
    return body.answer(request, await service_of(request).tree.snapshot())


@router.get("/chaos", responses=gives("Chaos"))
async def chaos(request: Request) -> Response:
    """Whether faults may be injected here on purpose, and which tree this is."""
    service = service_of(request)
    return body.answer(request, views.Chaos(service.settings.allow_chaos, service.tree.id))
