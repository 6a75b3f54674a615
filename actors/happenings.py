"""Values: the record of what has happened: its entries in the store, the events in them, and the place of each.

An entry is one id of the stream; the moves that one script made are together in it. So the place of an event is the entry's
id and its number in there, ``1764000000000-0.3``, and whoever has seen it can go on from exactly there.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, Self

import msgspec

from regrow.runtime.tree import Happening

KEPT: Final = 10_000  # entries, about; the scripts say the same (moves.lua)
TOLD_MS: Final = 24 * 3600 * 1000  # after its last happening, after which a tree's place in the record is forgotten
PLACE: Final = re.compile(r"(\d{1,19})-(\d{1,19})(?:\.(\d{1,9}))?", re.ASCII)
WHOLE: Final = 10**9  # a number that no event of an entry has: all of the entry has been seen


Phase = Literal["injected", "undone", "missed"]  # of a fault; missed: nothing was there to harm


class TaskEvent(msgspec.Struct, frozen=True, tag_field="kind", tag="task"):
    """A move of a task. ``at``: Unix seconds of the store's clock. ``why``: a settlement's kind, where the move has one."""

    at: float
    task_id: str
    move: str
    attempt: int
    worker: str
    why: str


class ChildEvent(msgspec.Struct, frozen=True, tag_field="kind", tag="child"):
    """What happened to a process of a supervision tree on ``host``. ``at``: Unix seconds of that machine.

    ``event`` is child.up, child.down, child.overdue, child.killed or supervisor.gave_up; or slot.down, of one of a worker's slots.
    """

    at: float
    event: str
    path: str
    incarnation: int
    pid: int | None = None
    reason: str = ""
    host: str = ""

    @classmethod
    def of(cls, happening: Happening, host: str) -> Self:
        """As it is kept."""
        return cls(**msgspec.structs.asdict(happening), host=host)


class FaultEvent(msgspec.Struct, frozen=True, tag_field="kind", tag="fault"):
    """Somebody does harm on purpose, as they say themselves. ``at``: Unix seconds; ``target``: a path of the tree on ``host``."""

    at: float
    fault: str
    target: str
    phase: Phase
    detail: str = ""
    host: str = ""


Event = TaskEvent | ChildEvent | FaultEvent
Moves = list[tuple[str, str, int, str, str]]  # the fields of TaskEvents behind ``at``
_decode_moves = msgspec.msgpack.Decoder(list[str | int]).decode
_decode_event = msgspec.json.Decoder(ChildEvent | FaultEvent).decode
encode_event = msgspec.json.Encoder().encode


class Place(NamedTuple):
    """Where an event stands in the record. Places are ordered as the events are."""

    ms: int
    sequence: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From its text; "0" is before everything, an entry's id without a number is after all of the entry.  None: neither."""
        if text == "0":
            return cls(0, 0, WHOLE)
        found = PLACE.fullmatch(text)
        if found is None:
            return None
        return cls(int(found[1]), int(found[2]), WHOLE if found[3] is None else int(found[3]))

    @property
    def entry(self) -> str:
        """The id of its entry."""
        return f"{self.ms}-{self.sequence}"

    def __str__(self) -> str:
        return self.entry if self.number >= WHOLE else f"{self.entry}.{self.number}"


class Entry(NamedTuple):
    """One entry of the record, as the store has it."""

    id: str
    fields: Mapping[bytes, bytes]

    @property
    def end(self) -> Place:
        """The place behind all of it."""
        ms, _, sequence = self.id.partition("-")
        return Place(int(ms), int(sequence), WHOLE)

    def events(self) -> list[Event]:
        """What it tells; nothing where it is of a kind that this version does not know."""
        try:
            if b"moves" in self.fields:
                return self._moves(self.fields[b"moves"])
            return [_decode_event(self.fields[b"event"])]
        except (KeyError, ValueError, msgspec.MsgspecError):
            return []

    def _moves(self, blob: bytes) -> list[Event]:
        at, value = self.end.ms / 1000, iter(_decode_moves(blob))
        moves = msgspec.convert(list(zip(value, value, value, value, value, strict=True)), Moves)
        return [TaskEvent(at, *move) for move in moves]

    def may_tell_of(self, text: str) -> bool:
        """Whether its bytes have the text in them: quickly seen, before it is decoded."""
        return any(text.encode() in value for value in self.fields.values())
