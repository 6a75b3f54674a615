"""Values: the kinds of task that a workload is mixed of, what each returns, and how it ends when nothing is done to it."""

import hashlib
import json
from typing import Any, Final

import msgspec

CPU_ROUNDS: Final = 250_000  # about 20 ms
LARGE_BYTES: Final = 1_000_000
LONGEST_SHOWN: Final = 1_000  # characters of a value in a history; of a longer one a digest


class Kind(msgspec.Struct, frozen=True):
    """``ends``: COMPLETED, or the kind of its failure.  ``max_attempts``: what it is registered with, None for the ordinary.

    ``is_sent_twice``: under one idempotency key.  ``is_cancelled``: the workload cancels it.
    """

    text: str
    ends: str = "COMPLETED"
    max_attempts: int | None = None
    is_sent_twice: bool = False
    is_cancelled: bool = False


KINDS: Final = {
    "noop": Kind("returns at once"),
    "cpu20ms": Kind("adds up squares for about 20 ms"),
    "sleep100ms": Kind("sleeps for 0.1 s"),
    "sleep1s": Kind("sleeps for 1 s"),
    "raise": Kind("raises ValueError", ends="raised"),
    "large": Kind("returns a text of 1 MB"),
    "poison": Kind("kills its slot", ends="quarantined"),
    "once": Kind("sleeps for 1 s, and must never start twice", max_attempts=1),
    "twice": Kind("returns at once, and is submitted twice under one idempotency key", is_sent_twice=True),
    "cancel": Kind("sleeps for 3 s, and is cancelled long before", is_cancelled=True),
}


def value_of(kind: str, number: int) -> str:
    """What the task with this number returns, as ``shown``."""
    return shown(_value(kind, number))


def shown(value: Any) -> str:
    """A value as histories have it: its JSON text, or a digest of that."""
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= LONGEST_SHOWN else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _value(kind: str, number: int) -> Any:
    match kind:
        case "cpu20ms":
            return (CPU_ROUNDS - 1) * CPU_ROUNDS * (2 * CPU_ROUNDS - 1) // 6 + number
        case "large":
            return f"{number:010d}" * (LARGE_BYTES // 10)
        case _:
            return number
