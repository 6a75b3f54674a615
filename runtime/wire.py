"""Values: the control messages between an actor and its supervisor: two closed unions over one ZeroMQ connection.

::

    child (DEALER)                              supervisor (ROUTER)
      Hello ──────────────────────────────────▶   first word: its role
      Ready ──────────────────────────────────▶   its init is done
      Beat, every interval, from its own loop ▶
      Show ───────────────────────────────────▶   what it wants seen below itself in the tree
      Respecify ──────────────────────────────▶   with what arguments its next life is to be started
      Tell ───────────────────────────────────▶   what has happened below it
      ◀────────────────────────────────────── Stop
      ◀── Cast Call Reply Refusal Monitor Down Forget ──▶   letters, routed along the tree by path

A letter carries its addressee's path (``to``) and, where an answer may come, its writer's path and a number of the
writer's choice (``ref``, unique per writer). The body of a letter is msgpack that only its reader decodes.
One message is one frame: a CRC-32, and msgpack.
"""

from typing import Final, TypeVar
from zlib import crc32

import msgspec

from regrow.runtime.errors import ProtocolError
from regrow.runtime.spec import ExitReason
from regrow.runtime.tree import Happening, TreeNode

T = TypeVar("T")


class Hello(msgspec.Struct, frozen=True, tag="hello", forbid_unknown_fields=True):
    """The first word of a child: its process runs and its class is loaded."""

    role: str


class Ready(msgspec.Struct, frozen=True, tag="ready", forbid_unknown_fields=True):
    """The child's init is done."""


class Beat(msgspec.Struct, frozen=True, tag="beat", forbid_unknown_fields=True):
    """The child's loop turns."""


class Show(msgspec.Struct, frozen=True, tag="show", forbid_unknown_fields=True):
    """Replaces what was shown before."""

    children: tuple[TreeNode, ...]
    facts: dict[str, str]


class Respecify(msgspec.Struct, frozen=True, tag="respecify", forbid_unknown_fields=True):
    """From its next life on the child is to be started with these ``arguments``, in place of those in its spec."""

    arguments: bytes


class Tell(msgspec.Struct, frozen=True, tag="tell", forbid_unknown_fields=True):
    """This has happened below the child, in this order."""

    happenings: tuple[Happening, ...]


class Stop(msgspec.Struct, frozen=True, tag="stop", forbid_unknown_fields=True):
    """End in an orderly way within ``grace_s`` seconds (``None``: in your own time)."""

    grace_s: float | None


class Cast(msgspec.Struct, frozen=True, tag="cast", forbid_unknown_fields=True):
    """A message without an answer."""

    to: str
    sender: str
    body: bytes


class Call(msgspec.Struct, frozen=True, tag="call", forbid_unknown_fields=True):
    """A message that is answered by exactly one Reply or Refusal."""

    to: str
    sender: str
    ref: int
    body: bytes


class Reply(msgspec.Struct, frozen=True, tag="reply", forbid_unknown_fields=True):
    """The answer to a Call."""

    to: str
    ref: int
    body: bytes


class Refusal(msgspec.Struct, frozen=True, tag="refusal", forbid_unknown_fields=True):
    """The answer to a Call that failed: an error's code and text."""

    to: str
    ref: int
    code: str
    text: str


class Monitor(msgspec.Struct, frozen=True, tag="monitor", forbid_unknown_fields=True):
    """Asks for exactly one Down when the actor at ``to`` has ended, or at once if it does not live."""

    to: str
    sender: str
    ref: int


class Down(msgspec.Struct, frozen=True, tag="down", forbid_unknown_fields=True):
    """The monitored actor at ``path`` has ended."""

    to: str
    ref: int
    path: str
    reason: ExitReason


class Forget(msgspec.Struct, frozen=True, tag="forget", forbid_unknown_fields=True):
    """The writer no longer waits for an answer to its Call or Monitor ``ref``."""

    to: str
    sender: str
    ref: int


Question = Cast | Call | Monitor | Forget
Answer = Reply | Refusal | Down
Letter = Question | Answer
FromChild = Hello | Ready | Beat | Show | Respecify | Tell | Letter
ToChild = Stop | Letter

CHECK_BYTES: Final = 4  # in front of every frame: the CRC-32 of the rest
_encode = msgspec.msgpack.Encoder().encode
_from_child: msgspec.msgpack.Decoder[FromChild] = msgspec.msgpack.Decoder(FromChild)
_to_child: msgspec.msgpack.Decoder[ToChild] = msgspec.msgpack.Decoder(ToChild)


def sealed(body: bytes) -> bytes:
    """A frame of these bytes, by which its reader can tell that they arrived as they were sent."""
    return crc32(body).to_bytes(CHECK_BYTES, "big") + body


def encode(message: FromChild | ToChild) -> bytes:
    """One message as a frame."""
    return sealed(_encode(message))


def read(decoder: msgspec.msgpack.Decoder[T], frame: bytes | memoryview, peer: str = "") -> T:
    """The one message in ``frame``, or in the body of a letter.  Raises ProtocolError if it is damaged or unknown."""
    try:
        return decoder.decode(frame)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ProtocolError(str(error), peer, bytes(frame)) from error


def unseal(decoder: msgspec.msgpack.Decoder[T], frame: bytes, peer: str = "") -> T:
    """The one message in a sealed frame.  Raises ProtocolError if it is damaged or unknown."""
    body = memoryview(frame)[CHECK_BYTES:]
    if len(frame) < CHECK_BYTES or crc32(body) != int.from_bytes(frame[:CHECK_BYTES], "big"):
        raise ProtocolError("damaged on its way: its checksum does not fit", peer, frame)
    return read(decoder, body, peer)


def read_from_child(frame: bytes, peer: str) -> FromChild:
    """What a child or a guest said.  Raises ProtocolError."""
    return unseal(_from_child, frame, peer)


def read_to_child(frame: bytes) -> ToChild:
    """What the supervisor said.  Raises ProtocolError."""
    return unseal(_to_child, frame, "supervisor")
