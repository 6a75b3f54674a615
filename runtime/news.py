"""Core: what has happened in a supervisor's branch of the tree, numbered, for actors that follow it.

Theory of operation. Every supervisor tells its parent what happens to its children, so each of them, and the root of all,
knows its branch. It numbers what it hears and keeps the newest ``KEPT``. A follower asks for what comes after a number and
is answered once, with at most ``PAGE`` happenings: at once, or when there is something. To go on it asks again with the last
number it has dealt with. So nothing is lost while a follower is being restarted, nothing piles up before a slow one, and a
question asked twice does no harm.

Numbers begin at 1 in each life of the supervisor; a follower that knows a higher number than there is comes from another life
and is told everything.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from regrow.runtime.tree import Happening, News

KEPT: Final = 1_000  # happenings, for followers that are away
PAGE: Final = 100  # happenings in one answer
MAX_FOLLOWERS: Final = 100  # that wait at once; the oldest is forgotten for a newer one


@dataclass(slots=True)
class Newsroom:
    """The happenings of one branch, and who waits for the next one."""

    total: int = 0
    _kept: deque[Happening] = field(default_factory=lambda: deque(maxlen=KEPT))
    _waiting: dict[str, int] = field(default_factory=dict)  # follower -> the last number that it has

    def add(self, happenings: Iterable[Happening]) -> list[tuple[str, News]]:
        """Take these in; who is to be sent what."""
        before = self.total
        for happening in happenings:
            self._kept.append(happening)
            self.total += 1
        if self.total == before:
            return []
        waiting, self._waiting = self._waiting, {}
        return [(path, self._after(after)) for path, after in waiting.items()]

    def follow(self, path: str, after: int) -> News | None:
        """What to answer now; None: when there is something."""
        known = after if after <= self.total else 0
        if known < self.total:
            return self._after(known)
        self._waiting.pop(path, None)
        self._waiting[path] = known
        if len(self._waiting) > MAX_FOLLOWERS:
            del self._waiting[next(iter(self._waiting))]
        return None

    def forget(self, path: str) -> None:
        """Whoever lived there, or below, has ended."""
        for follower in [one for one in self._waiting if one == path or one.startswith(f"{path}/")]:
            del self._waiting[follower]

    def _after(self, number: int) -> News:
        oldest = self.total - len(self._kept) + 1
        first = max(number + 1, oldest)
        return News(first, tuple(islice(self._kept, first - oldest, first - oldest + PAGE)))
