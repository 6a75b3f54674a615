"""Core: function bytes by digest, the least recently used forgotten first.

A worker keeps one for itself and, per slot, an estimate of the slot's own. Both sides follow the same rule for mostly the
same calls, so the estimate is nearly always right, and spares most calls their function. Nothing depends on it: a slot
that lacks a function says so (``packets.CodeMissing``).
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from regrow.actors.task import Digest


@dataclass(slots=True)
class CodeCache:
    """At most ``limit_bytes`` of functions, except that the newest is always kept."""

    limit_bytes: int
    used_bytes: int = 0
    _functions: OrderedDict[Digest, bytes] = field(default_factory=OrderedDict)

    def get(self, digest: Digest) -> bytes | None:
        """The function, which becomes the most recently used; ``None`` if it is not here."""
        code = self._functions.get(digest)
        if code is not None:
            self._functions.move_to_end(digest)
        return code

    def put(self, digest: Digest, code: bytes) -> None:
        """Keep a function, and forget the least recently used ones for it."""
        self.used_bytes += len(code) - len(self._functions.pop(digest, b""))
        self._functions[digest] = code
        while self.used_bytes > self.limit_bytes and len(self._functions) > 1:
            _, forgotten = self._functions.popitem(last=False)
            self.used_bytes -= len(forgotten)

    def clear(self) -> None:
        """Forget everything."""
        self._functions.clear()
        self.used_bytes = 0

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._functions
