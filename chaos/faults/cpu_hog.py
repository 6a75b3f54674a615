"""Shell: ``cpu.hog``: the machine has much else to do."""

import os
from typing import Annotated

import msgspec

from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.hogs import Hog
from regrow.runtime.errors import ConfigError


class CpuHog(Hog, frozen=True, kw_only=True, tag="cpu.hog"):
    """``processes`` that do nothing but spin, at this ``nice``, all on one ``core`` if it is given."""

    processes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 0
    core: Annotated[int, msgspec.Meta(ge=0)] | None = None

    def __post_init__(self) -> None:
        cores = os.sched_getaffinity(0)
        if self.core is not None and self.core not in cores:
            raise ConfigError(f"cpu.hog: there is no core {self.core}; use one of {', '.join(map(str, sorted(cores)))}")

    def words(self) -> tuple[object, ...]:
        """Cpu PROCESSES NICE [CORE]."""
        return "cpu", self.processes, self.nice, *(() if self.core is None else (self.core,))

    def strike(self, blow: Blow) -> str:
        """Beside the tree, with its priority or a lower one."""
        return f"pid {self.go(blow).pid} spins in {self.processes} processes"
