"""Values: what a worker and one of its slots say to each other, one packet per task and one per answer.

Every packet carries the number of the task's turn in its header (see ``pipe``), so these bodies do not repeat it.
Turn 0 is the slot's own: it says ``Ready`` under it.
"""

from typing import Final

import msgspec

from regrow.actors.limits import Limits
from regrow.actors.task import Digest, Failure

READY_NUMBER: Final = 0
SLOT_CACHE_BYTES: Final = 64 * 1024 * 1024  # function bytes that a slot keeps; its worker estimates by the same rule


class Call(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Run the function with this digest. ``code`` is sent when the worker does not believe that the slot knows it.

    ``checksum``: CRC-32 of ``params``.
    """

    digest: Digest
    params: bytes
    code: bytes | None = None
    limits: Limits | None = None
    checksum: int | None = None


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready", forbid_unknown_fields=True):
    """The slot has loaded what it needs and waits for calls."""


class CodeMissing(msgspec.Struct, frozen=True, array_like=True, tag="code_missing", forbid_unknown_fields=True):
    """The call was not run: its function neither came with it nor is here. It is to be fed again, with the function."""


class Ended(msgspec.Struct, frozen=True, array_like=True, tag="ended", forbid_unknown_fields=True):
    """How a call ended: exactly one of ``value`` (pickled, with its CRC-32) and ``failure`` is set. ``ran_s``: seconds in the slot.

    ``is_marked``: the end of what it printed is marked in the slot's output (see ``output``).
    """

    value: bytes | None
    failure: Failure | None
    ran_s: float
    checksum: int | None = None
    is_marked: bool = False


Answer = Ended | CodeMissing
FromSlot = Ready | Answer

encode = msgspec.msgpack.Encoder().encode
decode_call = msgspec.msgpack.Decoder(Call).decode
decode_from_slot = msgspec.msgpack.Decoder(FromSlot).decode
