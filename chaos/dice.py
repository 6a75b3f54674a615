"""Core: chance that is a pure function of a seed and of what it is for, the same on every machine and Python."""

from hashlib import blake2b
from typing import Final

TOP: Final = 1 << 63


def derived(seed: int, *words: object) -> int:
    """Another seed, of 63 bits, for the purpose that the words name."""
    text = "/".join(map(str, (seed, *words)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 1


def fraction(seed: int, *words: object) -> float:
    """At least 0 and less than 1, evenly."""
    return derived(seed, *words) / TOP
