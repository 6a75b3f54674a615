"""Core: the tasks of the model of the store: submitted, scheduled, cancelled, expired (submit.lua, cancel.lua, due.lua).

What is left out: seals and damage, functions and their bytes, counters, memory limits, output, histories.  ``now_ms`` is set by
the server before each call: the store counts in whole milliseconds, as the real one does.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence

from regrow.actors.records import CancelVerdict, SubmitVerdict
from regrow.actors.task import Drop, Move, State, TaskId, after
from regrow.actors.wire import BATCH_TASKS
from regrow.chaos.simulation.store_record import Observer, Record, Submission

ENDED = frozenset({State.COMPLETED, State.FAILED})
LOOK_AGAIN_MS = 5000  # due.lua


class Shelf:
    """``publish`` is told "work", "due" or "drops"; ``noise`` gives numbers in [0, 1)."""

    def __init__(self, observer: Observer, publish: Callable[[str], None], noise: Callable[[], float]) -> None:
        self.tasks: dict[TaskId, Record] = {}
        self.queue: deque[TaskId] = deque()
        self.leases: dict[str, dict[TaskId, int]] = {}  # by dispatcher
        self.memos: dict[str, tuple[str, list[TaskId]]] = {}  # by dispatcher: its newest claim
        self.series: dict[
            str, tuple[str, int]
        ] = {}  # by dispatcher: the series of claims that it has begun, and until when
        self.beats: dict[str, int] = {}
        self.drops_of: dict[str, list[Drop]] = {}
        self.scheduled: dict[TaskId, int] = {}
        self.ghosts = 0
        self.now_ms = 0
        self._scheduled_heap: list[tuple[int, TaskId]] = []
        self._deadlines: list[tuple[int, TaskId]] = []
        self._observer = observer
        self._publish = publish
        self._noise = noise

    def submit(self, tasks: Sequence[Submission], max_queued: int) -> list[SubmitVerdict]:
        """Write new tasks and queue them, each wholly or not at all."""
        room = max_queued - len(self.queue) + self.ghosts - len(self.scheduled)
        answer, has_queued, is_timed = [], False, False
        for task in tasks:
            if task.task_id in self.tasks:
                answer.append(SubmitVerdict.REPEATED)
                continue
            if room <= 0:
                answer.append(SubmitVerdict.QUEUE_FULL)
                continue
            room -= 1
            record = Record(task.task_id, task.digest, task.params, task.limit, task.retry, task.limits)
            self.tasks[task.task_id] = record
            is_timed = self._note_times(record, task) or is_timed
            if task.delay_s <= 0:
                self.queue.append(task.task_id)
                has_queued = True
            answer.append(SubmitVerdict.ACCEPTED)
        if has_queued:
            self._publish("work")
        if is_timed:
            self._publish("due")
        return answer

    def _note_times(self, record: Record, task: Submission) -> bool:
        now = self.now_ms
        if task.expires_s is not None:
            record.expires = now + int(1000 * task.expires_s)
        if task.deadline_s is not None:
            record.deadline = now + int(1000 * task.deadline_s)
        times = [time for time in (record.expires, record.deadline) if time is not None]
        if times:
            heapq.heappush(self._deadlines, (min(times), record.task_id))
        if task.delay_s > 0:
            self._schedule(record.task_id, now + int(1000 * task.delay_s))
        return bool(times) or task.delay_s > 0

    def _schedule(self, task_id: TaskId, due: int) -> None:
        self.scheduled[task_id] = due
        heapq.heappush(self._scheduled_heap, (due, task_id))

    def cancel(self, task_ids: Sequence[TaskId]) -> list[CancelVerdict]:
        """End tasks that somebody wants no more."""
        verdicts, has_run = [], False
        for task_id in task_ids:
            task = self.tasks.get(task_id)
            if task is None:
                verdicts.append(CancelVerdict.UNKNOWN)
            elif task.status in ENDED:
                verdicts.append(CancelVerdict.CANCELLED if task.kind == "cancelled" else CancelVerdict.ENDED)
            else:
                if task.status is State.RUNNING:
                    self.leases.get(task.owner, {}).pop(task_id, None)
                    drop = Drop(task_id, task.attempt, task.worker)
                    self.drops_of.setdefault(task.owner, []).append(drop)
                    has_run = True
                elif self.scheduled.pop(task_id, None) is None:
                    self.ghosts += 1
                task.last = Move.CANCEL
                self._finish(task, Move.CANCEL, task.attempt, "cancelled")
                verdicts.append(CancelVerdict.CANCELLED)
        if has_run:
            self._publish("drops")
        return verdicts

    def promote(self) -> tuple[int, float | None]:
        """Do what time has brought: how many were queued, and seconds until it is to be asked again."""
        moved = 0
        heap, now = self._scheduled_heap, self.now_ms
        while heap and heap[0][0] <= now and moved < BATCH_TASKS:
            due, task_id = heapq.heappop(heap)
            if self.scheduled.get(task_id) == due:
                del self.scheduled[task_id]
                if self.tasks[task_id].status not in ENDED:
                    self.queue.append(task_id)
                    moved += 1
        if moved:
            self._publish("work")
        self._end_overdue()
        soonest = min((times[0][0] for times in (heap, self._deadlines) if times), default=None)
        return moved, None if soonest is None else max(0, soonest - now) / 1000

    def _end_overdue(self) -> None:
        for _ in range(BATCH_TASKS):
            if not self._deadlines or self._deadlines[0][0] > self.now_ms:
                return
            task = self.tasks.get(heapq.heappop(self._deadlines)[1])
            if task is None or task.status in ENDED:
                continue
            if task.status is State.QUEUED and self._is_overdue(task):
                if self.scheduled.pop(task.task_id, None) is None:
                    self.ghosts += 1
                self._expire(task)
            elif task.deadline is not None:
                again = max(task.deadline, self.now_ms + LOOK_AGAIN_MS)
                heapq.heappush(self._deadlines, (again, task.task_id))

    def _is_overdue(self, task: Record) -> bool:
        if task.deadline is not None and self.now_ms >= task.deadline:
            return True
        return task.expires is not None and self.now_ms >= task.expires and task.attempt == 0

    def _expire(self, task: Record) -> None:
        task.last = Move.EXPIRE
        self._finish(task, Move.EXPIRE, task.attempt, "expired" if task.attempt == 0 else "timed_out")

    def waiting(self) -> int:
        """Tasks in the queue that have not ended there."""
        return len(self.queue) - self.ghosts

    def _finish(self, task: Record, move: Move, attempt: int, kind: str, value: bytes | None = None) -> None:
        task.status = after(task.status, move)
        task.kind, task.value = kind, value
        self._observer.moved(task, move, attempt, kind, value)

    def forget(self, task_id: TaskId) -> None:
        """It ended so long ago that its record expires."""
        self.tasks.pop(task_id, None)
