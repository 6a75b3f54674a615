"""Core: what ZeroMQ says on one direction of a connection (ZMTP 3.x, without encryption), cut into whole messages.

Theory of operation
    A direction begins with a greeting of 64 bytes, which both sides send in pieces and wait for, so it is passed on as it comes.
    Then there are frames: a byte of flags, the size of the body in one byte or in eight, and the body.  A frame with the
    COMMAND flag is a matter of ZeroMQ itself (handshake, ping) and is passed on as it is.  All others make messages, of one
    frame or of several: all but the last have the MORE flag.  A message is given out when it is whole.

    Of a direction that does not begin like ZMTP 3 nothing is understood, and all is passed on.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

GREETING_BYTES: Final = 64
MORE: Final = 1
LONG: Final = 2
COMMAND: Final = 4


@dataclass(frozen=True, slots=True)
class Message:
    """``frames``: header and body of each, as they were on the wire."""

    frames: tuple[tuple[bytes, bytes], ...]

    def wire(self) -> bytes:
        """As it is sent."""
        return b"".join(part for frame in self.frames for part in frame)

    @property
    def size_bytes(self) -> int:
        """Of the bodies."""
        return sum(len(body) for _, body in self.frames)

    def flipped(self, bit: int) -> "Message":
        """With one bit of its bodies the other way round, counted over all of them; sizes and flags are as they were."""
        frames, at = [], bit // 8
        for header, body in self.frames:
            if 0 <= at < len(body):
                body = body[:at] + bytes([body[at] ^ 1 << bit % 8]) + body[at + 1 :]
                at = -1
            elif at >= 0:
                at -= len(body)
            frames.append((header, body))
        return Message(tuple(frames))


@dataclass(slots=True)
class Splitter:
    """One direction."""

    _rest: bytearray = field(default_factory=bytearray)
    _greeting: bytes = b""
    _frames: list[tuple[bytes, bytes]] = field(default_factory=list)
    _is_foreign: bool = False

    def feed(self, data: bytes) -> list[bytes | Message]:
        """What can be passed on now: bytes as they are, and messages."""
        found: list[bytes | Message] = []
        if len(self._greeting) < GREETING_BYTES and not self._is_foreign:
            data, greeting = data[GREETING_BYTES - len(self._greeting) :], data[: GREETING_BYTES - len(self._greeting)]
            self._greeting += greeting
            found.append(greeting)
            self._is_foreign = not _is_zmtp_3(self._greeting)
        if self._is_foreign:
            return [*found, data] if data else found
        self._rest += data
        found += self._take_frames()
        return found

    def _take_frames(self) -> Iterator[bytes | Message]:
        """Cut off the frames that are whole."""
        rest, at = self._rest, 0
        while (body_at := at + (9 if rest[at : at + 1] and rest[at] & LONG else 2)) <= len(rest):
            end = body_at + int.from_bytes(rest[at + 1 : body_at], "big")
            if end > len(rest):
                break
            header, body, at = bytes(rest[at:body_at]), bytes(rest[body_at:end]), end
            if header[0] & COMMAND:
                yield header + body
                continue
            self._frames.append((header, body))
            if not header[0] & MORE:
                yield Message(tuple(self._frames))
                self._frames.clear()
        del rest[:at]


def _is_zmtp_3(greeting: bytes) -> bool:
    """As far as it has come: 0xFF, eight bytes, 0x7F, and a version of at least 3."""
    return (
        greeting[:1] in (b"", b"\xff")
        and greeting[9:10] in (b"", b"\x7f")
        and (len(greeting) < 11 or greeting[10] >= 3)
    )
