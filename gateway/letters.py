"""Shell: dead letters: tasks on which regrow gave up, which keep their parameters: to look at, queue again, or throw away.

A dead letter is a FAILED task and stays one: an outcome never changes. To queue it again submits the same call as a new task,
whose id is made from the letter's, so that it happens once however often it is asked for.
"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from regrow.actors.astore import AsyncStore
from regrow.actors.limits import NO_OPTIONS, Options
from regrow.actors.task import NewTask, TaskId, TaskRecord
from regrow.gateway import body, views
from regrow.gateway.idempotency import task_id_of
from regrow.gateway.openapi import gives, takes
from regrow.gateway.problems import ApiError
from regrow.gateway.service import Service

routes = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])
PAGE: int = 1000  # letters read or thrown away at once


class Letters:
    """What can be done with dead letters."""

    def __init__(self, service: Service, store: AsyncStore) -> None:
        self._service = service
        self._store = store

    async def page(self, limit: int, after: TaskId | None) -> tuple[list[TaskRecord], TaskId | None]:
        """The newest ``limit`` letters behind the one called ``after``, and the last of them where there are more."""
        found = await self._store.letters(limit + 1, after)
        records = await self._store.read(found[:limit], with_result=True)
        return [record for record in records if record is not None], found[limit - 1] if len(found) > limit else None

    async def one(self, task_id: TaskId) -> TaskRecord:
        """A letter.  Raises ApiError."""
        if await self._store.letter(task_id) is None:
            raise _unknown(task_id)
        return await self._service.task(task_id)

    async def requeue(self, task_id: TaskId) -> TaskId:
        """Submit the same call as a new task; its id, also when that has been done before.  Raises ApiError."""
        again = task_id_of(f"dead letter {task_id}")
        letter = await self._store.letter(task_id)
        if letter is None:
            if (await self._store.read([again], with_result=False))[0] is not None:
                return again
            raise _unknown(task_id)
        options = NO_OPTIONS if letter.limits is None else Options(limits=letter.limits)
        new = NewTask(again, letter.function_id, letter.params, letter.max_attempts, b"", letter.checksum, options)
        found = await self._service.submit_new(new)
        await self._store.discard([task_id])
        return found

    async def purge(self, ids: list[TaskId]) -> int:
        """Throw these away; how many there were."""
        return await self._store.discard(ids)

    async def purge_all(self) -> int:
        """Throw all away; how many there were."""
        total = 0
        while found := await self._store.letters(PAGE):
            total += await self._store.discard(found)
        return total


def _unknown(task_id: TaskId) -> ApiError:
    return ApiError("unknown_letter", f"task {task_id} is no dead letter, or was queued again or thrown away before")


def _letters(request: Request) -> Letters:
    letters: Letters = request.app.state.letters
    return letters


@routes.get("", responses=gives("Letters", 422, 503))
async def dead_letters(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = 100,
    after: UUID | None = None,
) -> Response:
    """Dead letters, newest first, page by page."""
    records, last = await _letters(request).page(limit, TaskId(str(after)) if after else None)
    return body.answer(request, views.Letters([views.letter(record) for record in records], last))


@routes.get("/{task_id}", responses=gives("Task", 404, 422, 503))
async def dead_letter(request: Request, task_id: UUID) -> Response:
    """A dead letter, as a task."""
    return body.answer(request, views.task(await _letters(request).one(TaskId(str(task_id)))))


@routes.post("/{task_id}/requeue", openapi_extra=takes("Nothing"), responses=gives("Requeued", 404, 415, 422, 429, 503))
async def requeue(request: Request, task_id: UUID) -> Response:
    """Submit the same call again, as a new task. Nothing has to be sent but a ``Content-Type``."""
    return body.answer(request, views.Requeued(await _letters(request).requeue(TaskId(str(task_id)))))


@routes.delete("/{task_id}", responses=gives("Purged", 404, 422, 503))
async def purge(request: Request, task_id: UUID) -> Response:
    """Throw a dead letter away: the task stays FAILED, its parameters go."""
    if not await _letters(request).purge([TaskId(str(task_id))]):
        raise _unknown(TaskId(str(task_id)))
    return body.answer(request, views.Purged(1))


@routes.delete("", responses=gives("Purged", 503))
async def purge_all(request: Request) -> Response:
    """Throw all dead letters away."""
    return body.answer(request, views.Purged(await _letters(request).purge_all()))
