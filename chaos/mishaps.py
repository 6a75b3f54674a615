"""Core: what becomes of whole messages on their way, when some are to be lost, doubled, damaged, or overtaken.

Theory of operation
    Each message meets the faults in one order: it may be dropped; else a bit of it may be flipped; else, or besides, it may come
    twice; and it may wait until the next one has passed.  Whoever waits is let go with the next message, also when the fault was
    undone meanwhile, and with the end of the direction.  Chance is drawn from a seed, so the same messages fare alike.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from regrow.chaos.link_fault import Corrupt, Drop, Duplicate, FrameFault, Reorder
from regrow.chaos.zmtp import Message

Faults = Mapping[type[FrameFault], FrameFault]


@dataclass(slots=True)
class Mishaps:
    """Of one direction of one connection. ``draw`` gives numbers from 0 up to 1; ``happened`` counts, and may be shared."""

    draw: Callable[[], float]
    happened: Counter[type[FrameFault]] = field(default_factory=Counter)
    _waiting: Message | None = None

    def pass_on(self, message: Message, faults: Faults) -> list[Message]:
        """What is sent on for it, in order."""
        if self._meets(Drop, faults):
            return []
        if message.size_bytes and self._meets(Corrupt, faults):
            message = message.flipped(int(self.draw() * message.size_bytes * 8))
        sent = [message, message] if self._meets(Duplicate, faults) else [message]
        if self._waiting is not None:
            return [*sent, *self.rest()]
        if self._meets(Reorder, faults):
            self._waiting = sent.pop()
        return sent

    def rest(self) -> list[Message]:
        """Who is still waiting."""
        waiting, self._waiting = self._waiting, None
        return [] if waiting is None else [waiting]

    def _meets(self, kind: type[FrameFault], faults: Faults) -> bool:
        fault = faults.get(kind)
        if fault is None or self.draw() >= fault.chance:
            return False
        self.happened[kind] += 1
        return True
