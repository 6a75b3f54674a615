"""Core: what a slot prints, cut into lines that its worker can log: bounded in length and in number per second."""

from dataclasses import dataclass
from typing import Final

LINE_BYTES: Final = 4 * 1024  # longer lines are cut
TAIL_BYTES: Final = 4 * 1024  # the end of the output, kept to explain a death
LINES_PER_S: Final = 200  # more are dropped, and counted


@dataclass(slots=True)
class Output:
    """The standard output and standard error of one slot's process, as one stream."""

    dropped: int = 0  # lines, since this was last set to 0
    _partial: bytes = b""
    _tail: bytes = b""
    _second: int = 0
    _lines: int = 0  # in this second

    def feed(self, data: bytes, now: float) -> list[str]:
        """The lines that are complete and may be logged. ``now``: monotonic seconds."""
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > LINE_BYTES:
            lines, self._partial = [*lines, self._partial], b""
        if int(now) != self._second:
            self._second, self._lines = int(now), 0
        taken = lines[: max(0, LINES_PER_S - self._lines)]
        self._lines += len(taken)
        self.dropped += len(lines) - len(taken)
        return [line[:LINE_BYTES].decode(errors="replace") for line in taken]

    def tail(self) -> str:
        """The last of everything that it printed."""
        return self._tail.decode(errors="replace").strip()
