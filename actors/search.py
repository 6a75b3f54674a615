"""Core: a dispatcher's search for tasks that have not ended and are where nobody looks.

Theory of operation. A task whose id was damaged in the queue stays QUEUED, one whose lease was deleted while its dispatcher was
dead stays RUNNING, and neither is met by any move. Nobody looks for such tasks until there is a sign (``beat.lua``): an id
without a record was met, or there are more open tasks than the queue, the timers and the leases have. Then one dispatcher searches:

::

    SCAN page by page ──▶ WALK through the queue ──▶ MEND some at a time ──▶ over
       ▲                                                │
       └───────── a round ends at MOST_SUSPECTS ────────┘

- A *page* names suspects, with the mark (status and attempt) that they had. Of those that are QUEUED most are in the queue.
- The *walk* reads the whole queue, from its end to its front, and strikes off what it finds. Tasks leave the queue at the
  front only, and join it at the end or the front; positions are counted from the end. So what is in the queue from the
  beginning of the walk to its end is found, and what left it was claimed, which has changed its mark.
- So a suspect that was not struck off and still has its mark is in no queue. *Mend* sees to that, and to the leases, in one
  script: it puts the task back, and changes nothing for those that have moved.
- One step is under way at a time, with a pause after it, so that claims never wait for more than a step. The search itself is
  nowhere but here: one that is broken off has changed nothing but what it has mended, and the sign that led to it stays.
- For one window after the start nothing is searched, since workers may still present what they hold.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from regrow.actors import stimuli
from regrow.actors.events import Event
from regrow.actors.stimuli import Effect, Report
from regrow.actors.suspects import MEND_TASKS, START, WALK_IDS, Close, Mended, Page, Signs, Suspects
from regrow.actors.task import TaskId

PAUSE_S: Final = 0.01  # after each step, ten times as long as one takes
MOST_SUSPECTS: Final = 100_000  # of one round
RESTS: Final = 1.0  # no search begins for so many times as long as the last one took


class Phase(Enum):
    """What the next step is."""

    SCAN = auto()
    WALK = auto()
    MEND = auto()


@dataclass(slots=True)
class Search:
    """At most one search at a time.  ``effects`` is shared with its owner.  Times are monotonic seconds."""

    effects: list[Effect]
    window_s: float
    _may_begin_at: float | None = None  # the store has answered, and workers have had their time by then
    _signs: Signs | None = None  # there is a search, which goes by these
    _began_at: float = 0.0
    _next_at: float | None = None  # when the next step is to be taken
    _is_stepping: bool = False
    _is_stale: bool = False  # the step under way belongs to a search that was broken off
    _phase: Phase = Phase.SCAN
    _cursor: str = START  # of the next page
    _suspects: Suspects = field(default_factory=dict)
    _position: int = 0  # so many ids from the queue's end were read
    _looked_at: int = 0
    _mended: Mended = field(default_factory=Mended)

    def begin(self, signs: Signs, now: float) -> None:
        """There are signs, and the search is ours.  They are told again and again until it is over."""
        if self._signs is None and self._may_begin_at is not None and now >= self._may_begin_at:
            self._signs, self._began_at = signs, now
            self._start_over(now)

    def store_back(self, now: float) -> None:
        """The store answers, or answers again: then its cursors may mean nothing any more."""
        if self._may_begin_at is None:
            self._may_begin_at = now + self.window_s
        elif self._signs is not None:
            self._start_over(now)

    def cease(self) -> None:
        """Take no more steps: the sign stays, for whoever comes next."""
        self._may_begin_at, self._signs, self._next_at = float("inf"), None, None

    def next_deadline(self) -> float | None:
        """When to call ``tick``."""
        return self._next_at

    def tick(self, now: float) -> None:
        """Take the next step, if it is time."""
        if self._next_at is not None and now >= self._next_at:
            self._next_at, self._is_stepping = None, True
            self.effects.append(self._step(now))

    def answered(self, answer: stimuli.Found, now: float) -> None:
        """A step is done."""
        was_stale, self._is_stale, self._is_stepping = self._is_stale, False, False
        if self._signs is None:
            return
        self._next_at = now + PAUSE_S
        if not was_stale:
            self._take_in(answer, now)

    def _take_in(self, answer: stimuli.Found, now: float) -> None:
        match answer:
            case stimuli.Scanned(page):
                self._scanned(page)
            case stimuli.Walked(ids):
                self._walked(ids)
            case stimuli.PutBack(mended):
                self._put_back(mended, now)

    def _start_over(self, now: float) -> None:
        self._phase, self._cursor, self._looked_at, self._mended = Phase.SCAN, START, 0, Mended()
        self._suspects.clear()
        self._is_stale = self._is_stepping
        self._next_at = None if self._is_stepping else now

    def _step(self, now: float) -> Effect:
        if self._phase is Phase.SCAN:
            return stimuli.Scan(self._cursor)
        if self._phase is Phase.WALK:
            return stimuli.Walk(self._position)
        some = {task_id: self._suspects.pop(task_id) for task_id in list(self._suspects)[:MEND_TASKS]}
        return stimuli.Mend(some, self._close(now) if self._is_last() else None)

    def _is_last(self) -> bool:
        return not self._suspects and self._cursor == START

    def _close(self, now: float) -> Close:
        assert self._signs is not None
        return Close(self._signs, self._mended.total, RESTS * (now - self._began_at))

    def _scanned(self, page: Page) -> None:
        self._cursor = page.cursor
        self._looked_at += page.looked_at
        self._suspects |= page.suspects
        if self._cursor == START or len(self._suspects) >= MOST_SUSPECTS:
            self._phase = Phase.WALK if self._suspects else Phase.MEND
            self._position = 0

    def _walked(self, ids: list[TaskId]) -> None:
        for task_id in ids:
            self._suspects.pop(task_id, None)
        self._position += len(ids)
        if len(ids) < WALK_IDS:
            self._phase = Phase.MEND

    def _put_back(self, mended: Mended, now: float) -> None:
        self._mended += mended
        if self._is_last():
            self._end(now)
        elif not self._suspects:
            self._phase = Phase.SCAN

    def _end(self, now: float) -> None:
        self._signs, self._next_at = None, None
        found = self._mended
        self.effects.append(
            Report(
                Event.SEARCH_ENDED,
                {
                    "tasks": self._looked_at,
                    "queued": found.queued,
                    "leased": found.leased,
                    "condemned": found.condemned,
                    "took_s": round(now - self._began_at, 3),
                },
                is_warning=found.total > 0,
            )
        )
