"""Core: what a slot prints: as lines to log, bounded in length and in number per second, and its end, to explain a death.

The end holds what was printed since the last answered turn, so that no task's death quotes another task. Output and
answers travel separately, so the slot marks in its output where a turn ends if any of it is still unread then; and what
had been read before the answer is forgotten with the answer. What is printed later by processes that a task has left
behind counts as printed by the task that runs then.
"""

import re
from dataclasses import dataclass, field
from typing import Final

LINE_BYTES: Final = 4 * 1024  # longer lines are cut
TAIL_BYTES: Final = 4 * 1024  # the end of the output, kept to explain a death
LINES_PER_S: Final = 200  # more are dropped, and counted
MARK_BYTES: Final = 34
_MARK: Final = re.compile(rb"\0regrow turn (\d{20})\n")


def mark(turn: int) -> bytes:
    """What a slot writes between the output of ``turn`` and the next."""
    return b"\0regrow turn %020d\n" % turn


@dataclass(slots=True)
class Dropped:
    """Output that was not logged."""

    lines: int = 0  # whole ones
    size_bytes: int = 0  # of these, and of what was cut off from others

    def add(self, other: "Dropped") -> None:
        """Count that, too."""
        self.lines += other.lines
        self.size_bytes += other.size_bytes


@dataclass(slots=True)
class Output:
    """The standard output and standard error of one slot's process, as one stream."""

    _dropped: Dropped = field(default_factory=Dropped)
    _unfinished: bytes = b""  # the first bytes of what may become a mark
    _partial: bytes = b""
    _tail: bytes = b""
    _marked: int = 0  # the last turn whose mark was read
    _second: int = 0
    _lines: int = 0  # in this second

    def feed(self, data: bytes, now: float) -> list[str]:
        """The lines that are complete and may be logged. ``now``: monotonic seconds."""
        data = self._without_marks(self._unfinished + data)
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > LINE_BYTES:
            lines, self._partial = [*lines, self._partial], b""
        if int(now) != self._second:
            self._second, self._lines = int(now), 0
        room = max(0, LINES_PER_S - self._lines)
        taken, lost = lines[:room], lines[room:]
        self._lines += len(taken)
        self._dropped.add(Dropped(len(lost), sum(len(line) + 1 for line in lost)))
        self._dropped.size_bytes += sum(max(0, len(line) - LINE_BYTES) for line in taken)
        return [line[:LINE_BYTES].decode(errors="replace") for line in taken]

    def _without_marks(self, data: bytes) -> bytes:
        """Only what was printed; the marks are heeded, and one that has not come whole is kept for later."""
        end = _start_of_unfinished(data)
        data, self._unfinished = data[:end], data[end:]
        latest = 0
        for found in _MARK.finditer(data):
            self._marked, self._tail, latest = int(found[1]), b"", found.end()
        self._tail = (self._tail + data[latest:])[-TAIL_BYTES:]
        return _MARK.sub(b"", data) if latest else data

    def end_turn(self, turn: int) -> None:
        """This turn's answer was read: forget its output, unless its mark has done that already."""
        if turn > self._marked:
            self._tail = b""

    def take_dropped(self) -> Dropped:
        """What was not logged since this was last asked."""
        dropped, self._dropped = self._dropped, Dropped()
        return dropped

    def tail(self) -> str:
        """The last of what was printed since the last answered turn."""
        return (self._tail + self._unfinished).decode(errors="replace").strip()


def _start_of_unfinished(data: bytes) -> int:
    """Where a mark begins that has not come whole; the end of ``data`` if none does."""
    start = data.rfind(b"\0", max(0, len(data) - MARK_BYTES + 1))
    rest = data[start:]
    is_mark = start >= 0 and mark(0).startswith(rest.translate(_ZEROS))
    return start if is_mark else len(data)


_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
