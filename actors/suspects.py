"""Values: a search for tasks that have not ended and are where nobody looks: what goes into its scripts and what comes out."""

from collections.abc import Sequence
from typing import Final

import msgspec

from regrow.actors.task import TaskId

PAGE_KEYS: Final = 200  # that one script looks at
WALK_IDS: Final = 1000  # of the queue, read at once
MEND_TASKS: Final = 100  # in one script
TURN_MS: Final = 5_000  # for which a search is one dispatcher's, from each of its pulses
START: Final = "0"  # the cursor before the first page, and after the last

Suspects = dict[TaskId, bytes]  # with their marks: status and attempt as they were read


class Signs(msgspec.Struct, frozen=True):
    """Why a search is due. ``vanished``: ids met without a record; ``missing``: open tasks that are in no queue and under no lease."""

    vanished: int
    missing: int


class Page(msgspec.Struct, frozen=True):
    """Some of the tasks: how many there were, and those that may be where nobody looks."""

    cursor: str
    looked_at: int
    suspects: Suspects


class Mended(msgspec.Struct, frozen=True):
    """So many were queued again, put under a lease again, and ended."""

    queued: int = 0
    leased: int = 0
    condemned: int = 0

    def __add__(self, other: "Mended") -> "Mended":
        return Mended(self.queued + other.queued, self.leased + other.leased, self.condemned + other.condemned)

    @property
    def total(self) -> int:
        """All of them."""
        return self.queued + self.leased + self.condemned


class Close(msgspec.Struct, frozen=True):
    """The search is over: the signs that it went by, how many it had put back before, and how long no other is to begin."""

    signs: Signs
    mended: int
    rest_s: float


def signs_of(due: bytes | int, vanished: bytes | int, missing: bytes | int) -> Signs | None:
    """From beat.lua; ``None``: no search is due."""
    return Signs(int(vanished), int(missing)) if int(due) else None


def page_of(reply: Sequence[bytes | int]) -> Page:
    """From scan.lua.  No task has an id that is no text."""
    cursor, looked_at, *found = reply
    suspects = {}
    for task_id, mark in zip(found[::2], found[1::2], strict=True):
        assert isinstance(task_id, bytes)
        assert isinstance(mark, bytes)
        suspects[TaskId(task_id.decode(errors="replace"))] = mark
    assert isinstance(cursor, bytes)
    return Page(cursor.decode(), int(looked_at), suspects)


def mend_arguments(
    dispatcher: str, retention_s: float, silent_ms: int, suspects: Suspects, close: Close | None
) -> list[str | bytes | int]:
    """For mend.lua."""
    arguments: list[str | bytes | int] = [dispatcher, int(1000 * retention_s), silent_ms]
    if close is None:
        arguments += (0, 0, 0, 0, 0)
    else:
        signs = close.signs
        arguments += (1, signs.vanished, signs.missing, close.mended, int(1000 * close.rest_s))
    for task_id, mark in suspects.items():
        arguments += (task_id, mark)
    return arguments
