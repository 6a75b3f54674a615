"""Core: what a slot prints: as lines to log, bounded in length and in number per second, and, by turn, as what each task printed.

Output and answers travel separately. So the slot writes a mark into its output where a turn ends, if any of it is still
unread then, and says so in the turn's answer; what is there before the mark is that turn's. What had been read before an
answer without a mark is that turn's, too: for that, the worker looks how much there is to read *before* it reads answers,
and reads no more than that after them (see ``SlotProcess.lines``). A task pays for it only if it prints.

Of each turn the beginning and the end are kept. Nothing that a task has started prints after its answer: it is killed first.
"""

import re
from dataclasses import dataclass, field
from typing import Final

import msgspec

LINE_BYTES: Final = 4 * 1024  # longer lines are cut
TAIL_BYTES: Final = 4 * 1024  # the end of a turn's output, quoted to explain a death
HEAD_KEPT_BYTES: Final = 8 * 1024  # the beginning of a turn's output, kept
TAIL_KEPT_BYTES: Final = 8 * 1024  # the end of it
LINES_PER_S: Final = 200  # more are dropped, and counted
MARKED_TURNS: Final = 128  # kept apart, more than a slot can be fed; user code may write marks of its own
MARK_BYTES: Final = 34
_MARK: Final = re.compile(rb"\0regrow turn (\d{20})\n")


def mark(turn: int) -> bytes:
    """What a slot writes between the output of ``turn`` and the next."""
    return b"\0regrow turn %020d\n" % turn


class Printed(msgspec.Struct, frozen=True):
    """What one turn has printed: ``size_bytes`` in all, of which ``kept`` has the beginning, the end and what was cut between."""

    kept: bytes = b""
    size_bytes: int = 0


NOTHING_PRINTED: Final = Printed()


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
class Kept:
    """The beginning and the end of one turn's output."""

    head: bytes = b""
    tail: bytes = b""
    size_bytes: int = 0

    def add(self, data: bytes) -> None:
        """It has printed more."""
        room = max(0, HEAD_KEPT_BYTES - len(self.head))
        self.head += data[:room]
        self.tail = (self.tail + data[room:])[-TAIL_KEPT_BYTES:]
        self.size_bytes += len(data)

    def printed(self) -> Printed:
        """As it is told."""
        cut = self.size_bytes - len(self.head) - len(self.tail)
        gap = b"\n[... %d bytes cut ...]\n" % cut if cut else b""
        return Printed(self.head + gap + self.tail, self.size_bytes)


@dataclass(slots=True)
class Output:
    """The standard output and standard error of one slot's process, as one stream."""

    _dropped: Dropped = field(default_factory=Dropped)
    _unfinished: bytes = b""  # the first bytes of what may become a mark
    _partial: bytes = b""
    _kept: Kept = field(default_factory=Kept)  # since the last mark or the last answer without one
    _marked: dict[int, Kept] = field(default_factory=dict)  # by turn, until its answer is read
    _last_mark: int = 0
    latest: int = 2**63  # turn that was fed; a mark of a later one is user code's
    _second: int = 0
    _lines: int = 0  # in this second

    @property
    def size_bytes(self) -> int:
        """What the present turn has printed, as far as it was read."""
        return self._kept.size_bytes

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
        start = 0
        for found in _MARK.finditer(data):
            self._kept.add(data[start : found.start()])
            start = found.end()
            if int(found[1]) <= self.latest:
                self._end_marked(int(found[1]))
        if start < len(data):
            self._kept.add(data[start:])
        return _MARK.sub(b"", data) if start else data

    def _end_marked(self, turn: int) -> None:
        self._last_mark = turn
        self._marked[turn], self._kept = self._kept, Kept()
        if len(self._marked) > MARKED_TURNS:
            del self._marked[next(iter(self._marked))]

    @property
    def has_any(self) -> bool:
        """Is there output whose turn has not ended?"""
        return bool(self._marked or self._kept.size_bytes or self._unfinished)

    def lacks_mark(self, turn: int) -> bool:
        """Is the mark of this turn still to be read?"""
        return turn > self._last_mark

    def end_turn(self, turn: int) -> Printed:
        """This turn's answer was read, and its mark before, if there is one: what it printed."""
        if turn > self._last_mark and (self._kept.size_bytes or self._unfinished):
            self._kept.add(self._unfinished)
            self._partial, self._unfinished = self._partial + self._unfinished, b""
            self._end_marked(turn)
        if not self._marked:
            return NOTHING_PRINTED
        kept = self._marked.pop(turn, None)
        for earlier in [marked for marked in self._marked if marked < turn]:
            del self._marked[earlier]
        return kept.printed() if kept and kept.size_bytes else NOTHING_PRINTED

    @property
    def has_dropped(self) -> bool:
        """Was anything not logged since that was last asked?"""
        return self._dropped.size_bytes > 0

    def take_dropped(self) -> Dropped:
        """What was not logged since this was last asked."""
        dropped, self._dropped = self._dropped, Dropped()
        return dropped

    def tail(self) -> str:
        """The last of what was printed since the last answered turn."""
        end = (self._kept.head + self._kept.tail + self._unfinished)[-TAIL_BYTES:]
        return end.decode(errors="replace").strip()

    def rest(self) -> Printed:
        """What was printed since the last answered turn: by the one that the slot has died at."""
        self._kept.add(self._unfinished)
        self._unfinished = b""
        return self._kept.printed()


def _start_of_unfinished(data: bytes) -> int:
    """Where a mark begins that has not come whole; the end of ``data`` if none does."""
    start = data.rfind(b"\0", max(0, len(data) - MARK_BYTES + 1))
    rest = data[start:]
    is_mark = start >= 0 and mark(0).startswith(rest.translate(_ZEROS))
    return start if is_mark else len(data)


_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
