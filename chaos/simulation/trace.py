"""Core: what has happened in a simulation, as a digest: equal digests are equal runs, event by event."""

from collections import deque
from hashlib import blake2b

BLOCK = 512  # lines that are hashed at once


class Trace:
    """``keep``: so many of the newest lines are kept to be shown; 0: all."""

    def __init__(self, keep: int | None = 400) -> None:
        self.lines: deque[str] = deque(maxlen=keep or None)
        self._hash = blake2b(digest_size=16)
        self._block: list[str] = []

    def note(self, now: float, text: str) -> None:
        """This happened."""
        line = f"{now!r} {text}"
        self.lines.append(line)
        self._block.append(line)
        if len(self._block) == BLOCK:
            self._absorb()

    def digest(self) -> str:
        """Of everything so far."""
        self._absorb()
        return self._hash.hexdigest()

    def _absorb(self) -> None:
        self._hash.update("\n".join([*self._block, ""]).encode())
        self._block.clear()
