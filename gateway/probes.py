"""Shell: what those ask who watch: whether it lives, whether it can work, and its metrics."""

from fastapi import APIRouter, Request, Response

from regrow.actors.events import Event
from regrow.gateway import body, views
from regrow.gateway.inflight import Inflight
from regrow.gateway.metrics import MEDIA_TYPE
from regrow.gateway.openapi import gives
from regrow.gateway.request import service_of
from regrow.runtime.errors import StoreError
from regrow.runtime.logs import log

router = APIRouter(tags=["probes"])


@router.get("/healthz", responses=gives("Health"))
async def healthz(request: Request) -> Response:
    """200: the gateway answers."""
    return body.answer(request, views.Health("ok", []))


@router.get("/readyz", responses=gives("Health") | {503: {"description": "tasks would not run now; reasons say why"}})
async def readyz(request: Request) -> Response:
    """200: the store answers, a dispatcher lives, and a worker takes tasks."""
    reasons = await service_of(request).shortcomings()
    return body.answer(request, views.Health("not_ready" if reasons else "ok", reasons), 503 if reasons else 200)


@router.get("/metrics", responses={200: {"description": "Prometheus text", "content": {"text/plain": {}}}})
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
