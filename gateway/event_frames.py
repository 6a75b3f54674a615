"""Core: events as the text of a server-sent event stream.

::

    id: 1764000000000-0.3          the place of the event: what Last-Event-ID resumes behind
    event: task                    task, child, fault, gap or end
    data: {"kind":"task", ...}     one JSON object
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from regrow.actors.happenings import Entry, Event, Place, TaskEvent

BEAT: Final = b": beat\n\n"  # a comment: it keeps the connection open through proxies, and finds out whether it is
_encode = msgspec.json.Encoder().encode


class Gap(msgspec.Struct, frozen=True, tag_field="kind", tag="gap"):
    """Events behind ``after`` may be missing: they are not kept any more."""

    after: str
    text: str


class End(msgspec.Struct, frozen=True, tag_field="kind", tag="end"):
    """The gateway ends the stream; ``reason`` is too_slow, stopping or store_unavailable."""

    reason: str
    text: str


AGAIN: Final = "connect again with the last id as Last-Event-ID to go on from here"
REASONS: Final = {
    "too_slow": f"events came faster than this listener took them: {AGAIN}, or ask for one task with ?task_id=",
    "stopping": f"this gateway is stopping: {AGAIN}",
    "store_unavailable": f"the store does not answer: {AGAIN}",
}


class Page:
    """Some entries of the record, read once for all listeners."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.end = entries[-1].end
        self.events: list[tuple[Place, Event]] = [
            (Place(entry.end.ms, entry.end.sequence, number), event)
            for entry in entries
            for number, event in enumerate(entry.events())
        ]
        self._whole: bytes | None = None

    def frames(self, after: Place, task_id: str = "") -> bytes:
        """The text of the events behind ``after``; with ``task_id`` of that task's only.  The whole is written once for all."""
        if not task_id and self.events and self.events[0][0] > after:
            if self._whole is None:
                self._whole = b"".join(frame(place, event) for place, event in self.events)
            return self._whole
        return b"".join(
            frame(place, event)
            for place, event in self.events
            if place > after and (not task_id or (isinstance(event, TaskEvent) and event.task_id == task_id))
        )


def frame(place: Place, event: Event) -> bytes:
    """One event."""
    kind = str(event.__struct_config__.tag).encode()
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (str(place).encode(), kind, _encode(event))


def greeting(place: Place) -> bytes:
    """The first words: whoever is cut off before the first event goes on from here, after a second."""
    return b"retry: 1000\nid: %s\n\n" % str(place).encode()


def gap(after: Place) -> bytes:
    """Of the place from which a listener wanted to go on."""
    text = "the event with this id is kept no more, so others behind it may be missing: only about the newest 10,000 entries are kept"
    return b"event: gap\ndata: %s\n\n" % _encode(Gap(str(after), text))


def end(reason: str) -> bytes:
    """The last words."""
    return b"event: end\ndata: %s\n\n" % _encode(End(reason, REASONS[reason]))
