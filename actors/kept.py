"""Core: the outcomes that a worker keeps until the store has them, and when they are so many that nothing more is started.

An outcome is never dropped: while the store or the dispatcher is away, whatever has started ends here. So the bound is on the
other side: from KEPT_BYTES on no slot is fed, and what is kept is at most that, plus one outcome for each task that had been
fed by then.
"""

from typing import Final

from regrow.actors.slot import Key
from regrow.actors.task import Outcome

KEPT_BYTES: Final = 64 * 1024 * 1024
ITEM_BYTES: Final = 500  # about what an outcome takes besides its payload


class Kept(dict[Key, Outcome]):
    """Outcomes by lease. Add and remove by ``keep`` and ``forget`` only."""

    def __init__(self) -> None:
        super().__init__()
        self.used_bytes = 0

    @property
    def is_full(self) -> bool:
        """Start nothing more."""
        return self.used_bytes >= KEPT_BYTES

    def keep(self, outcome: Outcome) -> None:
        """Until it is acknowledged."""
        self.forget((outcome.task_id, outcome.attempt))
        self[outcome.task_id, outcome.attempt] = outcome
        self.used_bytes += kept_bytes(outcome)

    def forget(self, key: Key) -> None:
        """It has been acknowledged, or is nobody's any more."""
        outcome = self.pop(key, None)
        if outcome is not None:
            self.used_bytes -= kept_bytes(outcome)

    def forget_all(self) -> None:
        """Nothing of it is ours any more."""
        self.clear()
        self.used_bytes = 0


def kept_bytes(outcome: Outcome) -> int:
    """About what it takes."""
    failure = outcome.failure
    if failure is None:
        return ITEM_BYTES + len(outcome.value or b"") + len(outcome.printed)
    texts = len(failure.message) + len(failure.traceback)
    return ITEM_BYTES + texts + len(failure.exception or b"") + len(outcome.printed)
