"""Shell: what every route begins with: the service of its application, and its body as the schema has it."""

from fastapi import Request

from regrow.gateway import body, schemas
from regrow.gateway.service import Service


def service_of(request: Request) -> Service:
    """The one that the application was made with."""
    service: Service = request.app.state.service
    return service


async def said(request: Request, model: type[schemas.M]) -> schemas.M:
    """The request's body.  Raises ApiError, Misfit."""
    limit = body.limit_of(service_of(request).settings.max_payload_bytes)
    return schemas.fit(model, await body.read(request, limit))
