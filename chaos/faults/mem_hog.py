"""Shell: ``mem.hog``: somebody else on the machine takes memory."""

from pathlib import Path
from typing import Annotated, Final

import msgspec

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.hogs import Hog
from regrow.chaos.lineage import NoVictim
from regrow.chaos.undo import Undo
from regrow.runtime.errors import ConfigError

LEFT_BYTES: Final = 512 * 1024 * 1024  # for all others on the machine, at least


class MemHog(Hog, frozen=True, kw_only=True, tag="mem.hog"):
    """A process beside the tree takes ``size_bytes`` of memory and holds them; never the last half GiB of the machine."""

    size_bytes: Annotated[int, msgspec.Meta(ge=1)]

    def words(self) -> tuple[object, ...]:
        """Memory BYTES NICE."""
        return "memory", self.size_bytes, 0

    def prepare(self, blow: Blow) -> tuple[Undo, ...]:
        """Raises ConfigError where that would be too much."""
        left_bytes = available_bytes() - self.size_bytes
        if left_bytes < LEFT_BYTES:
            raise ConfigError(
                f"mem.hog: {self.size_bytes} bytes would leave {left_bytes} on this machine; "
                f"use less than {max(0, available_bytes() - LEFT_BYTES)}"
            )
        return Hog.prepare(self, blow)

    def strike(self, blow: Blow) -> str:
        """All of them are touched when this returns."""
        helper = self.go(blow)
        assert helper.stdout is not None
        if not helper.stdout.read(1):
            raise NoVictim(f"{self.size_bytes} bytes of memory could not be had")
        return f"pid {helper.pid} holds {self.size_bytes} bytes"


def available_bytes() -> int:
    """What the kernel says that can be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
