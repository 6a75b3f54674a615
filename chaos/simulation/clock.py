"""Core: virtual time: what is to happen, in order of time, and of asking where the time is the same."""

import heapq
from collections.abc import Callable

Callback = Callable[[], None]


class Clock:
    """``now`` is virtual seconds.  Nothing happens between two events.  ``at_once``: events so far in this very moment."""

    __slots__ = ("_events", "_number", "at_once", "happened", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.happened = 0
        self.at_once = 0
        self._events: list[tuple[float, int, Callback]] = []
        self._number = 0

    def at(self, due: float, callback: Callback) -> None:
        """Have this happen then.  It cannot be called off: what may have become pointless finds that out itself."""
        self._number += 1
        heapq.heappush(self._events, (due, self._number, callback))

    def after(self, delay_s: float, callback: Callback) -> None:
        """Have this happen ``delay_s`` seconds from now."""
        self._number += 1
        heapq.heappush(self._events, (self.now + delay_s, self._number, callback))

    def step(self) -> bool:
        """Have the next event happen; False: there is none."""
        if not self._events:
            return False
        due, _, callback = heapq.heappop(self._events)
        self.at_once = self.at_once + 1 if due == self.now else 1
        self.now = due
        self.happened += 1
        callback()
        return True
