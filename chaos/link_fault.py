"""Values: what can be done to a connection on purpose, on its way through a ``proxy.Proxy``; one small thing each."""

from enum import Flag

import msgspec

from regrow.runtime.errors import ConfigError


class Way(Flag):
    """Which of the two directions of a connection.  ``OUT`` is from who has connected to who is connected to."""

    OUT = 1
    BACK = 2
    BOTH = 3


class Cut(msgspec.Struct, frozen=True, tag="cut"):
    """Nothing passes, and nobody is told: a partition.

    What was sent is kept back, as TCP keeps and repeats it, and arrives when the cut is healed.  New connections seem to be
    made, and reach the other side after the cut, unless they were given up by then.
    """


class Reset(msgspec.Struct, frozen=True, tag="reset"):
    """Every connection is reset (RST) with what is on its way, and so is each new one.  It has no direction."""


class Delay(msgspec.Struct, frozen=True, tag="delay"):
    """Everything arrives ``by_s`` seconds later, plus or minus at most ``jitter_s``; the order is kept."""

    by_s: float
    jitter_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.jitter_s <= self.by_s < float("inf"):
            raise ConfigError(
                f"a delay of {self.by_s:g} +/- {self.jitter_s:g} s: use at least 0, and no more jitter than delay"
            )


class Slice(msgspec.Struct, frozen=True, tag="slice"):
    """Everything arrives in pieces of at most ``size_bytes``, with ``pause_s`` seconds between them."""

    size_bytes: int
    pause_s: float = 0.0

    def __post_init__(self) -> None:
        if self.size_bytes < 1 or not 0 <= self.pause_s < float("inf"):
            raise ConfigError(
                f"slices of {self.size_bytes} bytes, {self.pause_s:g} s apart: use at least 1 byte, and at least 0 s"
            )


class Throttle(msgspec.Struct, frozen=True, tag="throttle"):
    """Each connection passes at most so many bytes per second."""

    bytes_per_s: float

    def __post_init__(self) -> None:
        if not 0 < self.bytes_per_s < float("inf"):
            raise ConfigError(
                f"a throttle of {self.bytes_per_s:g} bytes per second: use more than 0; for nothing at all, a cut"
            )


class Drop(msgspec.Struct, frozen=True, tag="drop"):
    """Of whole messages each one is lost with this ``chance`` (0 to 1)."""

    chance: float


class Duplicate(msgspec.Struct, frozen=True, tag="duplicate"):
    """Each message comes twice with this chance."""

    chance: float


class Reorder(msgspec.Struct, frozen=True, tag="reorder"):
    """Each message comes after the next one with this chance."""

    chance: float


class Corrupt(msgspec.Struct, frozen=True, tag="corrupt"):
    """Of each message one bit is flipped with this chance; where it ends is still known."""

    chance: float


FrameFault = Drop | Duplicate | Reorder | Corrupt  # on a link that speaks ZeroMQ, and where the proxy knows it
LinkFault = Cut | Reset | Delay | Slice | Throttle | FrameFault
