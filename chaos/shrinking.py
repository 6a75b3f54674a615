"""Core: from a plan that fails to a smaller one that still does: delta debugging (Zeller, Hildebrandt: Simplifying and Isolating
Failure-Inducing Input, 2002) over the steps of the plan.

The steps are cut into parts. A part alone, or all but a part, is tried; one that still fails is gone on with, else the parts
are made smaller, down to single steps.  What is left at the end is minimal in this sense: without any one of its steps it did not fail.
"""

from collections.abc import Generator, Hashable, Sequence
from itertools import pairwise
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Shrinking(Generic[Item]):
    """Ask ``candidate`` what to try next, and ``tell`` whether that failed too; None: ``smallest`` is the end."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.smallest: tuple[Item, ...] = tuple(items)
        self.tried = 0
        self._search = _search(self.smallest)
        self.candidate: tuple[Item, ...] | None = next(self._search, None)

    def tell(self, *, is_failing: bool) -> None:
        """What became of the candidate."""
        assert self.candidate is not None, "there is nothing left to try"
        self.tried += 1
        if is_failing:
            self.smallest = self.candidate
        try:
            self.candidate = self._search.send(is_failing)
        except StopIteration:
            self.candidate = None


def _search(items: tuple[Item, ...]) -> Generator[tuple[Item, ...], bool, None]:
    """Nothing is tried twice."""
    seen = {items}
    parts = 2
    while len(items) > 1:
        for candidate in _cuts(items, parts):
            if candidate in seen:
                continue
            seen.add(candidate)
            if (yield candidate):
                parts = 2 if len(candidate) * parts <= len(items) else max(parts - 1, 2)
                items = candidate
                break
        else:
            if parts >= len(items):
                return
            parts = min(parts * 2, len(items))


def _cuts(items: tuple[Item, ...], parts: int) -> list[tuple[Item, ...]]:
    """Each part alone, then all but each part."""
    bounds = [len(items) * place // parts for place in range(parts + 1)]
    pieces = list(pairwise(bounds))
    alone = [items[first:last] for first, last in pieces]
    without = [items[:first] + items[last:] for first, last in pieces]
    return alone + (without if parts > 2 else [])
