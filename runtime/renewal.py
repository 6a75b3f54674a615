"""Core: stopping and starting a set of children in order, one step at a time.

Theory of operation
    The initial start and the restart of a group are the same thing: a set of children to renew. Those of it that live
    are stopped, last one first, each gone before the next is asked; when all are gone and no delay is left, they are
    started, first one first, each ready before the next is spawned, and leave the set as they become ready. When
    another child of a group dies meanwhile, its group joins the set, and the renewal begins again with the stopping:
    going on would start children beside a dead one that they may need. That is also how a failed start re-runs the
    whole strategy.

    A pool has no order: its first start is all of it at once, and so is its end.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from regrow.runtime.children import Child, Children
from regrow.runtime.stimuli import Effect


def stop_next(living: list[Child], *, is_pool: bool, now: float) -> list[Effect]:
    """Stop the last one, unless it is being stopped already; of a pool, all."""
    return [effect for child in (living if is_pool else living[-1:]) for effect in child.stop(now)]


@dataclass(slots=True)
class Renewal:
    """The children that are to be stopped if they live, and then started."""

    children: Children
    is_pool: bool
    _left: set[str] = field(default_factory=set)
    _rising: set[str] = field(default_factory=set)  # of those: started, and not ready yet

    def __contains__(self, child: Child) -> bool:
        return child.id in self._left

    @property
    def is_active(self) -> bool:
        """Whether anything is left to renew."""
        return bool(self._left)

    def is_raising(self, child: Child) -> bool:
        """Whether it is in its new start, and not merely waiting to be stopped."""
        return child.id in self._rising

    def add(self, group: Iterable[str]) -> None:
        """Renew these too, and begin again with the stopping."""
        self._left.update(group)
        self._rising.clear()

    def acknowledged(self, child: Child) -> None:
        """``child`` is ready."""
        if child.id in self._rising:
            self.drop(child)

    def drop(self, child: Child) -> None:
        """``child`` is renewed, or not to be renewed any more."""
        self._left.discard(child.id)
        self._rising.discard(child.id)

    def call_off(self) -> None:
        """Renew nothing."""
        self._left.clear()
        self._rising.clear()

    def step(self, now: float) -> list[Effect]:
        """Whatever can be done now: the next stops, or, when all are gone and no delay is left, the next starts."""
        if self._rising:
            return []
        living = self.children.live(self._left)
        if living:
            return stop_next(living, is_pool=self.is_pool, now=now)
        waiting = [child for child in self.children if child.id in self._left]
        if any(child.deadline is not None for child in waiting):
            return []
        chosen = waiting if self.is_pool else waiting[:1]
        self._rising.update(child.id for child in chosen)
        return [effect for child in chosen for effect in child.start(now)]
