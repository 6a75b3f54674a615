"""Shell: packets between a worker and one slot, over a pair of AF_UNIX SOCK_SEQPACKET sockets.

::

    header: turn number, 8 bytes | body            up to INLINE_BYTES
    header: turn number, 8 bytes + sealed memfd    above: the body travels as a descriptor

The kernel keeps packets whole and hands each to exactly one reader. The worker keeps a duplicate of the slot's end, so
``steal`` takes back what the slot has not read: a packet is either read by the slot or stolen, never both.
Whatever the slot's user code may write or pass, reading it neither blocks nor hurts the worker: a descriptor is read
only when it is a memfd that is sealed against change, and a body only up to the reader's limit.
"""

import array
import fcntl
import os
import socket
from typing import Final

from regrow.runtime.errors import ProtocolError

INLINE_BYTES: Final = 3584  # larger bodies travel in a memfd; one of this size takes 4 KiB of the kernel's buffer
HEADER_BYTES: Final = 8
BUFFER_BYTES: Final = 1024 * 1024  # asked of the kernel, which grants at least 416 KiB: slot.AHEAD_TASKS packets
SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_FD_SPACE: Final = socket.CMSG_SPACE(4)
_FD_BYTES: Final = 4


def pair() -> tuple[socket.socket, socket.socket]:
    """The worker's end and the slot's end."""
    worker_end, slot_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (worker_end, slot_end):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    return worker_end, slot_end


def send(end: socket.socket, number: int, body: bytes, flags: int = 0) -> None:
    """Send one packet.  Raises OSError when the other side is gone, BlockingIOError as ``flags`` ask."""
    header = number.to_bytes(HEADER_BYTES, "little")
    if len(body) <= INLINE_BYTES:
        end.send(header + body, flags)
        return
    parcel = _sealed(body)
    try:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [parcel]))
        end.sendmsg([header], [rights], flags)
    finally:
        os.close(parcel)


def receive(end: socket.socket, limit_bytes: int, flags: int = 0) -> tuple[int, bytes] | None:
    """The next packet's number and body; ``None`` when the other side has closed.

    Raises ProtocolError for what ``send`` never makes, BlockingIOError as ``flags`` ask.
    """
    frame, parcel = _take(end, flags)
    try:
        if not frame and parcel is None:
            return None
        if len(frame) < HEADER_BYTES:
            raise ProtocolError("a packet without a header", "slot", frame)
        body = frame[HEADER_BYTES:] if parcel is None else _unsealed(parcel, limit_bytes)
        return int.from_bytes(frame[:HEADER_BYTES], "little"), body
    finally:
        if parcel is not None:
            os.close(parcel)


def steal(end: socket.socket) -> list[int]:
    """Take every packet that the owner of ``end`` has not read, and return their numbers."""
    numbers: list[int] = []
    while True:
        try:
            frame, parcel = _take(end, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return numbers
        if parcel is not None:
            os.close(parcel)
        if not frame:
            return numbers
        numbers.append(int.from_bytes(frame[:HEADER_BYTES], "little"))


def _take(end: socket.socket, flags: int) -> tuple[bytes, int | None]:
    """One raw packet and the descriptor that came with it."""
    frame, ancillary, seen, _ = end.recvmsg(HEADER_BYTES + INLINE_BYTES, _FD_SPACE, flags | socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % _FD_BYTES])
    for extra in descriptors[1:]:
        os.close(extra)
    parcel = descriptors[0] if descriptors else None
    if seen & socket.MSG_TRUNC:
        if parcel is not None:
            os.close(parcel)
        raise ProtocolError("an oversized packet", "slot", frame)
    return frame, parcel


def _sealed(body: bytes) -> int:
    """A memfd that holds ``body`` and can never change again."""
    parcel = os.memfd_create("regrow-payload", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(body)
        while view:
            view = view[os.write(parcel, view) :]
        fcntl.fcntl(parcel, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(parcel)
        raise
    return parcel


def _unsealed(parcel: int, limit_bytes: int) -> bytes:
    """The bytes of a descriptor that ``_sealed`` made.  Raises ProtocolError for any other descriptor."""
    try:
        seals = fcntl.fcntl(parcel, fcntl.F_GET_SEALS)
    except OSError:
        raise ProtocolError("a descriptor that is no sealed memfd", "slot") from None
    if seals & SEALS != SEALS:
        raise ProtocolError("a memfd that is not sealed", "slot")
    size = os.fstat(parcel).st_size
    if size > limit_bytes:
        raise ProtocolError(f"a body of {size} bytes, above {limit_bytes}", "slot")
    body = os.pread(parcel, size, 0)
    while len(body) < size:
        body += os.pread(parcel, size - len(body), len(body))
    return body
