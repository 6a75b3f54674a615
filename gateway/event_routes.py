"""Shell: the routes of the record: what happens, as it happens, faults on purpose among it, and the story of one task."""

import socket
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response

from regrow.actors.happenings import FaultEvent, Place
from regrow.actors.task import TaskId
from regrow.gateway import body, schemas, views
from regrow.gateway.event_stream import MEDIA_TYPE, EventStream
from regrow.gateway.openapi import gives, takes
from regrow.gateway.problems import ApiError
from regrow.gateway.request import said, service_of
from regrow.gateway.tales import tell
from regrow.runtime.clock import wall

router = APIRouter(prefix="/v1", tags=["v1"])
NOT_ALLOWED: Final = "faults are injected into trees that are there for it only: start this one with --allow-chaos (REGROW_ALLOW_CHAOS=1)"
STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "server-sent events: task, child, fault, and gap or end of the stream itself",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}


@router.get("/events", responses=STREAM | {s: a for s, a in gives("Health", 422, 429, 503).items() if s != 200})
async def events(
    request: Request,
    after: Annotated[
        str, Query(description="go on behind the event with this id; 0: from the oldest that is kept")
    ] = "",
    task_id: Annotated[UUID | None, Query(description="only moves of this task")] = None,
    last_event_id: Annotated[str, Header(description="as ``after``, and before it")] = "",
) -> Response:
    """What happens to tasks and processes, as server-sent events, from now on or from a given event on.

    Each event's ``data`` is one JSON object with ``at`` (Unix seconds) and ``kind``: "task" has task_id, move, attempt, worker and
    why; "child" has event, path, incarnation, pid, reason and host; "fault" has fault, target, phase, detail and host. About the
    newest 10,000 entries are kept.
    """
    return EventStream(service_of(request).events, _place(last_event_id or after), str(task_id or ""))


@router.get("/tasks/{task_id}/story", responses=gives("Story", 404, 422, 503))
async def story(request: Request, task_id: UUID) -> Response:
    """What has happened to one task, in order and in words."""
    return body.answer(request, await tell(service_of(request), TaskId(str(task_id))))


@router.post(
    "/events/faults", openapi_extra=takes("Fault"), responses=gives("Noted", 400, 403, 413, 415, 422, 429, 503)
)
async def fault(request: Request) -> Response:
    """Take note of a fault that somebody injects here on purpose. Only a tree that allows chaos does (``--allow-chaos``)."""
    service = service_of(request)
    if not service.settings.allow_chaos:
        raise ApiError("chaos_not_allowed", NOT_ALLOWED)
    asked = await said(request, schemas.Fault)
    at = wall() if asked.at is None else asked.at
    event = FaultEvent(at, asked.fault, asked.target, asked.phase, asked.detail, socket.gethostname())
    return body.answer(request, views.Noted(str(await service.events.annals.add(event))))


def _place(text: str) -> Place | None:
    """Raises ApiError for what is no id of an event."""
    place = Place.parse(text) if text else None
    if text and place is None:
        raise ApiError("invalid", f"{text[:50]!r} is no event's id: send one as it came, or 0 for the oldest")
    return place
