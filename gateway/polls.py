"""Core: which outstanding tasks are asked after in which call.

Theory of operation
-------------------
A client may have one task outstanding or a hundred thousand; all share at most ``POLLS`` long polls, each of which
names up to ``IDS`` tasks and returns as soon as any of them has ended::

    add ──▶ line ──next_poll──▶ poll ──returned──▶ ended: forgotten
             ▲                    │                  others: back into the line
             └────── interrupted ◀┘

A long poll cannot be given more ids once it is under way.  So:

- New tasks start a poll of their own while there is room for one.
- When there is none, the poll with the fewest ids is interrupted (asking is free of effects) and its ids go along with
  the new ones, if they fit into one call: small polls merge.  If they do not fit, a patient poll is interrupted.
- When more tasks are outstanding than all polls can name, the oldest go first, for they end first, and each poll is
  short (``CROWDED_S``): one that has returned nothing goes to the end of the line, so that every task has its turn.

A poll of many ids that returns with few endings costs the gateway the more, the more ids are asked after again.
``linger_s`` is how long to let endings gather before the rest is asked after again: 10 us for each outstanding task.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

POLLS: Final = 4  # calls under way at once
IDS: Final = 1000  # tasks named in one call
WAIT_S: Final = 20.0  # a call comes back empty after this time
CROWDED_S: Final = 1.0  # the same, while there are more tasks than the calls can name
LINGER_PER_TASK_S: Final = 10e-6
LINGER_AT_MOST_S: Final = 0.1
EMPTY_S: Final = 0.05  # after a call that returned nothing, in case the gateway does not wait, as when it is stopping


@dataclass(slots=True, eq=False)
class Poll:
    """One call: the ids that it names and how long it may wait, in seconds."""

    ids: list[str]
    wait_s: float


@dataclass(slots=True)
class Polls:
    """The line of tasks to ask after and the calls under way.  Invariant: a wanted id is in the line or in one call."""

    line: deque[str] = field(default_factory=deque)
    under_way: list[Poll] = field(default_factory=list)
    wanted: set[str] = field(default_factory=set)

    def add(self, ids: list[str]) -> None:
        """Ask after these as well, from now on."""
        self.wanted.update(ids)
        self.line.extend(ids)

    def forget(self, task_id: str) -> None:
        """Nobody waits for this one any more."""
        self.wanted.discard(task_id)

    def next_poll(self) -> Poll | None:
        """The next call to start, if there is one."""
        if len(self.under_way) >= POLLS:
            return None
        ids: list[str] = []
        while self.line and len(ids) < IDS:
            task_id = self.line.popleft()
            if task_id in self.wanted:
                ids.append(task_id)
        if not ids:
            return None
        poll = Poll(ids, CROWDED_S if self.line else WAIT_S)
        self.under_way.append(poll)
        return poll

    def to_interrupt(self) -> Poll | None:
        """A call to break off, so that those who stand in line need not wait for it."""
        if not self.line or len(self.under_way) < POLLS:
            return None
        smallest = min(self.under_way, key=lambda poll: len(poll.ids))
        if len(smallest.ids) + len(self.line) <= IDS:
            return smallest
        return next((poll for poll in self.under_way if poll.wait_s > CROWDED_S), None)

    def returned(self, poll: Poll, ended: list[str]) -> None:
        """``poll`` came back.  What it did not settle stands in line again: first, or last if it settled nothing."""
        self.under_way.remove(poll)
        self.wanted.difference_update(ended)
        left = [task_id for task_id in poll.ids if task_id in self.wanted]
        if ended:
            self.line.extendleft(reversed(left))
        else:
            self.line.extend(left)

    def linger_s(self, *, was_empty: bool) -> float:
        """How long to let further endings gather before asking again, in seconds."""
        return max(min(len(self.wanted) * LINGER_PER_TASK_S, LINGER_AT_MOST_S), EMPTY_S if was_empty else 0.0)
