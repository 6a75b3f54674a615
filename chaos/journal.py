"""Shell: the nemesis's journal: what it is about to do and how that is undone, on disk before it is done.

One JSON record a line, each flushed to the disk before the next step is taken. A crash can tear the last line, which is then
passed over: its fault was not made.  Whoever undoes something appends so, so that a reader knows what is left.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from regrow.chaos.evidence import Strike
from regrow.chaos.fault import Victim
from regrow.chaos.undo import Undo
from regrow.runtime.errors import ConfigError


class Header(msgspec.Struct, frozen=True, tag="header"):
    """The first record. ``tree``: the gateway's URL; ``root``: pid and start time of its root; ``wall_at``: Unix seconds."""

    title: str
    seed: int
    tree: str
    root_pid: int
    root_started_at: int
    pid: int  # of the chaos process
    at: float
    wall_at: float
    started_at: int = 0  # of the chaos process, in clock ticks since boot


class Intent(msgspec.Struct, frozen=True, tag="intent"):
    """What comes next, and how it is undone. ``number`` counts intents; one step may have several victims."""

    number: int
    step: int
    fault: str
    options: dict[str, Any]
    victim: Victim | None
    undos: tuple[Undo, ...]
    at: float


class Applied(msgspec.Struct, frozen=True, tag="applied"):
    """It was done, or has missed."""

    intent: int
    strike: Strike


class Undone(msgspec.Struct, frozen=True, tag="undone"):
    """It was undone, by the nemesis itself, its guardian, or ``regrow chaos undo``. ``said``: a line for each undo."""

    intent: int
    by: str
    said: tuple[str, ...]
    at: float


class Note(msgspec.Struct, frozen=True, tag="note"):
    """Anything else worth knowing."""

    text: str
    at: float


Record = Header | Intent | Applied | Undone | Note

TORN: Final = "truncated"  # in what msgspec says of a record without its end
_decode = msgspec.json.Decoder(Record).decode


class Journal:
    """An open one; several processes may append to the same file."""

    def __init__(self, path: Path) -> None:
        """Make the file, or go on with it."""
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if (size := os.fstat(self._fd).st_size) and os.pread(self._fd, 1, size - 1) != b"\n":
            os.write(self._fd, b"\n")  # what a crash has torn is a line of its own

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, record: Record) -> None:
        """It is on the disk when this returns."""
        os.write(self._fd, msgspec.json.encode(record) + b"\n")
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def read(path: Path) -> list[Record]:
    """All records.  A torn line is passed over.  Raises ConfigError when it cannot be read."""
    return _sorted_out(path)[0]


def damaged(path: Path) -> list[int]:
    """The numbers of lines that are no records, but for those that a crash has torn.  Raises ConfigError."""
    return _sorted_out(path)[1]


def _sorted_out(path: Path) -> tuple[list[Record], list[int]]:
    records: list[Record] = []
    broken: list[int] = []
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigError(f"the journal {path} cannot be read: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        try:
            records.append(_decode(line))
        except msgspec.DecodeError as error:
            if line and TORN not in str(error):
                broken.append(number)
    return records, broken


def outstanding(records: Iterable[Record]) -> list[Intent]:
    """What was intended and not undone, the last first; of what has nothing to undo nothing is left either."""
    intents: dict[int, Intent] = {}
    for record in records:
        match record:
            case Intent():
                intents[record.number] = record
            case Undone():
                intents.pop(record.intent, None)
            case _:
                pass
    return [intent for intent in reversed(intents.values()) if intent.undos]


def unknown(records: Iterable[Record]) -> list[Strike]:
    """What was done and is not undone, as far as can be read, and of which no intent can be read that says how."""
    made: dict[int, Strike] = {}
    told: set[int] = set()
    for record in records:
        match record:
            case Applied(intent=number, strike=strike) if strike.applied_at is not None and strike.undone_at is None:
                made[number] = strike
            case Intent(number=number) | Undone(intent=number):
                told.add(number)
            case _:
                pass
    return [strike for number, strike in made.items() if number not in told]
