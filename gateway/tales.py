"""Shell: stories of tasks: finds in the record of moves what belongs to one task.

The stream has no index by task: the entries of the task's lifetime are read page by page, and only those whose bytes name the
task, or tell of processes, are decoded. That is at most what the stream keeps, about 10,000 entries: what comes while they are
read is not waited for. Where the stream does not reach back to the submit any more, the story says so (``complete``).
"""

from typing import Final

from regrow.actors.annals import Annals
from regrow.actors.happenings import WHOLE, Event, Place
from regrow.actors.task import State, TaskId, TaskRecord
from regrow.gateway.service import Service
from regrow.gateway.story import DEATH_S, has_submit, story
from regrow.gateway.views import Story

MARGIN_MS: Final = int(1000 * DEATH_S)  # after the end: a death may be written down later than what it caused


async def tell(service: Service, task_id: TaskId) -> Story:
    """What has happened to a task.  Raises ApiError, StoreUnavailable."""
    record = await service.task(task_id, with_result=False)
    if record.status is State.FAILED:
        record = await service.task(task_id)  # its failure tells why
    found = await _events(service.events.annals, record)
    return Story(task_id, record.status, story(record, found), has_submit(record, found))


async def _events(annals: Annals, record: TaskRecord) -> list[Event]:
    """What the stream may have of it."""
    after = Place(max(0, int(1000 * record.submitted_at) - 1), 0, WHOLE)
    ended_at = record.finished_at
    until = (await annals.end()).entry if ended_at is None else str(int(1000 * ended_at) + MARGIN_MS)
    found: list[Event] = []
    while entries := await annals.page(after, until):
        for entry in entries:
            if b"event" in entry.fields or entry.may_tell_of(record.task_id):
                found += entry.events()
        after = entries[-1].end
    return found
