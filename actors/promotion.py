"""Core: what waits for its time in the store (a delay, a retry, a deadline): when the store is asked to do what time has brought.

The store says when the next one is due: one timer here, and one call when it is over or when somebody has said that it may be
sooner. One call at a time; one that is asked for while another is under way is made after that, which may not have seen what is
new.
"""

from dataclasses import dataclass

from regrow.actors.stimuli import Effect, Promote


@dataclass(slots=True)
class Promotion:
    """``effects`` is shared with its owner.  Times are monotonic seconds."""

    effects: list[Effect]
    due_at: float | None = None  # as far as known
    _is_under_way: bool = False
    _is_wanted: bool = False

    def ask(self) -> None:
        """Something may be due, or become so sooner than known."""
        self.due_at = None
        self._is_wanted = self._is_under_way
        if not self._is_under_way:
            self._is_under_way = True
            self.effects.append(Promote())

    def tick(self, now: float) -> None:
        """It may be time."""
        if self.due_at is not None and now >= self.due_at:
            self.ask()

    def answered(self, due_at: float | None) -> None:
        """It is done; the next is due then."""
        self._is_under_way = False
        self.due_at = due_at
        if self._is_wanted:
            self.ask()
