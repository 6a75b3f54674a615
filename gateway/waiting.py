"""Shell: who waits for which task: one subscription to the store wakes all long polls of this process.

::

    store.endings() ──▶ Waiting ──┬─ task a ──▶ Watch 1, Watch 2      a hint names tasks that may have ended;
                                  └─ task b ──▶ Watch 2               the record alone tells whether they have

- A watch is opened before its tasks are read for the first time, so no ending falls between.
- A hint that was lost with its connection is made good for: after each reconnect every watch reads all its tasks again.
- A task that was seen unfinished (or was submitted here) is known to be unfinished until its hint comes or the
  connection is lost; it is not read again before that.  So a client may ask after the same thousand tasks as often as
  one of them ends, and each is read about once.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from regrow.actors.astore import Reconnected
from regrow.actors.task import TaskId
from regrow.gateway.bell import Bell

MAX_UNFINISHED: Final = 200_000  # tasks that are remembered; others are read again for each request


class Watch:
    """The interest of one request in some tasks."""

    def __init__(self, ids: Iterable[TaskId], unfinished: set[TaskId]) -> None:
        self.ids = tuple(dict.fromkeys(ids))
        self._hinted: set[TaskId] = set(self.ids) - unfinished
        self._bell = Bell()

    def hint(self, ids: Iterable[TaskId]) -> None:
        """These should be read again."""
        self._hinted.update(ids)
        self._bell.ring()

    def take(self) -> list[TaskId]:
        """What should be read now, in the order of the request; at first those that are not known to be unfinished."""
        hinted, self._hinted = self._hinted, set()
        self._bell.still()
        return [task_id for task_id in self.ids if task_id in hinted] if len(hinted) > 1 else list(hinted)

    def is_hinted(self, task_id: TaskId) -> bool:
        """Whether it was hinted at since it was taken."""
        return task_id in self._hinted

    async def hinted(self, within_s: float) -> bool:
        """Wait for a hint; False when none came within ``within_s`` seconds."""
        return await self._bell.rung(within_s)


class Waiting:
    """All watches of this process. After ``release`` nobody waits any more."""

    def __init__(self) -> None:
        self._watches: dict[TaskId, set[Watch]] = {}
        self._unfinished: set[TaskId] = set()
        self.is_released = False

    def __len__(self) -> int:
        return len(set().union(*self._watches.values()))

    async def follow(self, endings: AsyncIterator[list[TaskId] | Reconnected]) -> None:
        """Turn the store's hints into those of the watches, until cancelled."""
        async for ending in endings:
            if isinstance(ending, list):
                self._reread(ending)
            else:
                self._unfinished.clear()
                self._hint_all()

    def expect(self, ids: Iterable[TaskId]) -> None:
        """These are about to be submitted: they are unfinished until a hint says otherwise."""
        if len(self._unfinished) < MAX_UNFINISHED:
            self._unfinished.update(ids)

    def forget(self, ids: Sequence[TaskId]) -> None:
        """Nothing is known of these, although they were expected: who has begun to wait since should read them."""
        self._reread(ids)

    def saw_unfinished(self, watch: Watch, ids: Iterable[TaskId]) -> None:
        """These were read after the watch took them, and had not ended; a hint that came meanwhile is the newer word."""
        self.expect(task_id for task_id in ids if not watch.is_hinted(task_id))

    @contextmanager
    def watch(self, ids: Iterable[TaskId]) -> Iterator[Watch]:
        """A watch on ``ids`` for the time of the block."""
        watch = Watch(ids, self._unfinished)
        for task_id in watch.ids:
            self._watches.setdefault(task_id, set()).add(watch)
        try:
            yield watch
        finally:
            for task_id in watch.ids:
                self._leave(task_id, watch)

    def release(self) -> None:
        """Have every request answered at once, with things as they are."""
        self.is_released = True
        self._hint_all()

    def _reread(self, ids: Sequence[TaskId]) -> None:
        self._unfinished.difference_update(ids)
        for task_id in ids:
            for watch in self._watches.get(task_id, ()):
                watch.hint((task_id,))

    def _hint_all(self) -> None:
        for watch in set().union(*self._watches.values()):
            watch.hint(watch.ids)

    def _leave(self, task_id: TaskId, watch: Watch) -> None:
        watches = self._watches[task_id]
        watches.discard(watch)
        if not watches:
            del self._watches[task_id]
