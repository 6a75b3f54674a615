"""Core: what was done to whom and when, so that everything that is lost can be asked for its cause.

A name is of a place (``t0/worker-3``) or of a part of a tree (``t0/dispatcher``, ``t0/tree`` for what concerns all below its root,
``store``).
"""

from bisect import bisect_left, insort
from typing import Final

FOREVER: Final = 1e18


class Causes:
    """Faults by whom they hit: each from when until when."""

    def __init__(self) -> None:
        self._ends: dict[str, list[tuple[float, float]]] = {}  # (end, begin), sorted by end

    def note(self, name: str, begin: float, end: float) -> None:
        """Something is wrong with this from ``begin`` to ``end``."""
        insort(self._ends.setdefault(name, []), (end, begin))

    def between(self, name: str, since: float, until: float) -> bool:
        """Was anything wrong with it at any time from ``since`` to ``until``?"""
        ends = self._ends.get(name, [])
        return any(begin <= until for _, begin in ends[bisect_left(ends, (since, -1.0)) :])

    def any_of(self, names: tuple[str, ...], since: float, until: float) -> bool:
        """With any of them?"""
        return any(self.between(name, since, until) for name in names)
