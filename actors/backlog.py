"""Core: the tasks that have not been fed to any slot: those that wait for one, and those that wait for their function."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from regrow.actors.cache import CodeCache
from regrow.actors.slot import Job
from regrow.actors.task import Digest

WORKER_CACHE_BYTES: Final = 256 * 1024 * 1024  # function bytes that a worker keeps


@dataclass(slots=True)
class Backlog:
    """Unstarted tasks, oldest first, and the functions that are here."""

    code: CodeCache = field(default_factory=lambda: CodeCache(WORKER_CACHE_BYTES))
    _waiting: deque[Job] = field(default_factory=deque)
    _parked: dict[Digest, list[Job]] = field(default_factory=dict)  # by the function that is on its way

    def add(self, jobs: Iterable[Job]) -> list[Digest]:
        """New tasks; the functions to ask for."""
        unasked = []
        for job in jobs:
            digest = job.task.digest
            if digest in self.code:
                self._waiting.append(job)
            elif digest in self._parked:
                self._parked[digest].append(job)
            else:
                self._parked[digest] = [job]
                unasked.append(digest)
        return unasked

    def put_back(self, jobs: list[Job]) -> None:
        """Tasks that come first again."""
        self._waiting.extendleft(reversed(jobs))

    def learn(self, digest: Digest, code: bytes | None) -> list[Job]:
        """A function has come, or is known not to exist: then its tasks, which are nobody's any more."""
        jobs = self._parked.pop(digest, [])
        if code is None:
            return jobs
        self.code.put(digest, code)
        self._waiting.extend(jobs)
        return []

    def head(self) -> Job | None:
        """The task that is to be fed next."""
        return self._waiting[0] if self._waiting else None

    def take(self) -> Job:
        """Take the head out."""
        return self._waiting.popleft()

    def take_newest(self, count: int) -> list[Job]:
        """Take out up to ``count``, newest first; those that could not run now anyway before the others."""
        newest: list[Job] = []
        for reserve in (*self._parked.values(), self._waiting):
            while reserve and len(newest) < count:
                newest.append(reserve.pop())
        self._parked = {digest: jobs for digest, jobs in self._parked.items() if jobs}
        return newest

    def sweep(self) -> None:
        """Forget the tasks that were dropped."""
        self._keep(lambda job: not job.is_dropped)

    def take_late(self) -> list[Job]:
        """Take out those whose deadline has come."""
        late = [job for job in self if job.is_late]
        if late:
            self._keep(lambda job: not job.is_late)
        return late

    def _keep(self, is_kept: Callable[[Job], bool]) -> None:
        self._waiting = deque(filter(is_kept, self._waiting))
        parked = {digest: [job for job in jobs if is_kept(job)] for digest, jobs in self._parked.items()}
        self._parked = {digest: jobs for digest, jobs in parked.items() if jobs}

    def missing(self) -> list[Digest]:
        """The functions that are on their way."""
        return list(self._parked)

    def __iter__(self) -> Iterator[Job]:
        yield from self._waiting
        for jobs in self._parked.values():
            yield from jobs

    def __len__(self) -> int:
        return len(self._waiting) + sum(map(len, self._parked.values()))
