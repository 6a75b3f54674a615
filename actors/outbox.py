"""Core: which outcomes are to be sent, cut into messages of bounded size."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from regrow.actors.slot import Key
from regrow.actors.task import Outcome
from regrow.actors.wire import BATCH_BYTES, BATCH_TASKS


@dataclass(slots=True)
class Outbox:
    """Names what is to be sent; the outcomes themselves stay where they are kept until acknowledged."""

    _keys: deque[Key] = field(default_factory=deque)

    def put(self, outcome: Outcome) -> None:
        """Send it with the next messages."""
        self._keys.append((outcome.task_id, outcome.attempt))

    def put_back(self, batch: list[Outcome]) -> None:
        """This batch could not be sent: it comes first next time."""
        self._keys.extendleft((outcome.task_id, outcome.attempt) for outcome in reversed(batch))

    def clear(self) -> None:
        """Send nothing of it."""
        self._keys.clear()

    def batch(self, kept: Mapping[Key, Outcome]) -> list[Outcome]:
        """The next message's outcomes, taken out; those that are not ``kept`` any more are left out."""
        batch: list[Outcome] = []
        size = 0
        while self._keys and len(batch) < BATCH_TASKS:
            outcome = kept.get(self._keys[0])
            if outcome is not None:
                size += _size(outcome)
                if batch and size > BATCH_BYTES:
                    break
                batch.append(outcome)
            self._keys.popleft()
        return batch


def _size(outcome: Outcome) -> int:
    """Payload bytes, near enough."""
    if outcome.failure is None:
        return len(outcome.value or b"")
    return len(outcome.failure.exception or b"") + len(outcome.failure.traceback) + len(outcome.failure.message)
