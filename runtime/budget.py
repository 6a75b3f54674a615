"""Core: how many restarts a supervisor may still make.

Theory of operation
    One window for the whole supervisor, not one per child: the question is not whether a child is broken but whether
    restarting still helps. Each restart is recorded, entries older than the window fall out, and a supervisor that
    finds more of them than it is allowed escalates instead of starting anything. The bound is inclusive, as in OTP:
    with 3 restarts in 5 s, a fourth death exactly 5.0 s after the first one is too much, at 5.1 s it is not.

    A refused restart is recorded too. The supervisor ends after it, so that makes no difference but in a post-mortem.
"""

from collections import deque
from dataclasses import dataclass, field

from regrow.runtime.spec import Intensity


@dataclass(slots=True)
class RestartBudget:
    """May one more child be restarted?  ``intensity`` may be replaced while it runs, when a pool is resized."""

    intensity: Intensity
    _spent: deque[float] = field(default_factory=deque)

    def spend(self, now: float) -> bool:
        """Record a restart at ``now`` (monotonic seconds); False: give up."""
        self._spent.append(now)
        return self.spent(now) <= self.intensity.restarts

    def spent(self, now: float) -> int:
        """Restarts in the window that ends at ``now``."""
        while self._spent and self._spent[0] < now - self.intensity.within_s:
            self._spent.popleft()
        return len(self._spent)
