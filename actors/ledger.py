"""Core: the endings that a dispatcher owes to the store, written in groups.

One batch is in flight at a time; what ends meanwhile goes with the next one, so the busier the store, the larger the
groups. A repeated outcome (its worker did not hear the acknowledgement) is owed once. An outcome that comes while the
loss of its worker is still unwritten takes that ending's place: the work was done after all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from regrow.actors.task import Move, Settlement, TaskId, Verdict
from regrow.actors.wire import BATCH_BYTES, BATCH_TASKS

Key = tuple[TaskId, int]
OWED_BYTES: Final = 64 * 1024 * 1024  # nothing new is claimed while so much is owed
ITEM_BYTES: Final = 200  # about what one settlement takes besides its payload


@dataclass(slots=True)
class Ledger:
    """Settlements by task and attempt: waiting, and in flight."""

    owed_bytes: int = 0
    _waiting: dict[Key, Settlement] = field(default_factory=dict)
    _flying: dict[Key, Settlement] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._waiting.keys() | self._flying.keys())

    def add(self, settlement: Settlement) -> None:
        """Owe this ending, unless the same one is owed already."""
        key = (settlement.task_id, settlement.attempt)
        flying = self._flying.get(key)
        if flying is not None and (flying.outcome is not None or settlement.outcome is None):
            return
        waiting = self._waiting.get(key)
        if waiting is None or (waiting.outcome is None and settlement.outcome is not None):
            self._waiting[key] = settlement
            self.owed_bytes += size_bytes(settlement) - (size_bytes(waiting) if waiting else 0)

    @property
    def is_full(self) -> bool:
        """The store should take some of it before there is more."""
        return self.owed_bytes >= OWED_BYTES

    def next_batch(self) -> list[Settlement]:
        """What to write now: nothing while a batch is in flight; else the oldest, up to one message's size."""
        if self._flying or not self._waiting:
            return []
        total_bytes = 0
        for key, settlement in self._waiting.items():
            total_bytes += size_bytes(settlement)
            if self._flying and (total_bytes > BATCH_BYTES or len(self._flying) == BATCH_TASKS):
                break
            self._flying[key] = settlement
        for key in self._flying:
            del self._waiting[key]
        return list(self._flying.values())

    def answered(self, verdicts: list[Verdict]) -> Iterator[tuple[Settlement, Verdict]]:
        """The batch in flight is written: its settlements with the store's verdicts."""
        flown, self._flying = self._flying, {}
        self.owed_bytes -= sum(map(size_bytes, flown.values()))
        return zip(flown.values(), verdicts, strict=True)


def size_bytes(settlement: Settlement) -> int:
    """About how many bytes a settlement takes on its way."""
    outcome = settlement.outcome
    if outcome is None:
        return ITEM_BYTES
    if outcome.failure is None or settlement.move is Move.SUCCEED:
        return ITEM_BYTES + len(outcome.value or b"")
    failure = outcome.failure
    return ITEM_BYTES + len(failure.message) + len(failure.traceback) + len(failure.exception or b"")
