"""Values: what an idempotency key stands for: the id of its task, and what else the task must be made of.

The id is made from the key alone, so the store finds the task of a key without a table of keys, and forgets both at once.
"""

import hashlib
from typing import Final

import msgspec

from regrow.actors.limits import NO_OPTIONS, Options
from regrow.actors.task import TaskId

NAMESPACE: Final = hashlib.sha256(b"regrow: task of idempotency key ")
BODY_BYTES: Final = 16


def task_id_of(key: str) -> TaskId:
    """The id of the task that is submitted under ``key``."""
    digest = NAMESPACE.copy()
    digest.update(key.encode())
    return shaped(digest.hexdigest())


def shaped(digits: str) -> TaskId:
    """A UUID4 text from at least 32 hexadecimal digits that look random."""
    variant = "89ab"[int(digits[16], 16) % 4]
    return TaskId(f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}")


def body_of(params: bytes, max_attempts: int | None, options: Options) -> bytes:
    """A digest by which a repeated submit is told from another one under the same key; the store adds the function's."""
    digest = hashlib.blake2b(f"{max_attempts} ".encode(), digest_size=BODY_BYTES)
    if options is not NO_OPTIONS:
        digest.update(msgspec.msgpack.encode(options))
    digest.update(params)
    return digest.digest()
