"""Shell: how much memory is used, and of how much: read from /proc and from the cgroup files of the kernel.

Three sources. A configured budget is that of a whole tree on this machine: what all its processes have, from its root down (of
a worker that was started by itself: its own and its slots'). Without one it is whatever leaves least: the limits of the
cgroups that this process is in, and the machine itself.

A process has what is resident and its own (``meter``): no file pages, and no page that was counted for another one. Of a
cgroup, file pages that the kernel would give up at once (``inactive_file``) do not count.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from regrow.actors import meter
from regrow.actors.pressure import Reading

UNLIMITED_BYTES: Final = 1 << 60  # a limit from here on is none; cgroup v1 says 2**63 or so
CGROUPS: Final = Path("/sys/fs/cgroup")
MEMINFO: Final = Path("/proc/meminfo")


class Memory(Protocol):
    """Something that can be full. ``name`` tells it from others."""

    name: str

    def read(self) -> Reading:
        """How full it is now."""
        ...


class TreeMemory:
    """A budget for a process and all below it."""

    def __init__(self, name: str, root_pid: int, budget_bytes: int) -> None:
        self.name = name
        self._root_pid = root_pid
        self._budget_bytes = budget_bytes

    def read(self) -> Reading:
        """What the whole tree has."""
        return Reading(meter.usage(self._root_pid).memory_bytes, self._budget_bytes)


class Surroundings:
    """The machine, and the cgroups with a limit that this process is in."""

    def __init__(self, cgroups: list["CgroupFiles"]) -> None:
        self._cgroups = cgroups
        self.name = " ".join([socket.gethostname(), *(str(group.folder) for group in cgroups)])

    def read(self) -> Reading:
        """Of whichever has least left."""
        readings = [machine(MEMINFO.read_text())]
        for group in self._cgroups:
            with suppress(OSError, ValueError):  # it is gone, or has no limit any more
                readings.append(group.read())
        return min(readings, key=lambda reading: reading.left_bytes)


class CgroupFiles:
    """One cgroup: which files say what. ``read`` raises OSError and ValueError."""

    def __init__(self, folder: Path, *, is_v2: bool) -> None:
        self.folder = folder
        names = ("memory.max", "memory.current") if is_v2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        self._limit, self._used = (folder / name for name in names)
        self._idle = "inactive_file" if is_v2 else "total_inactive_file"

    def limit_bytes(self) -> int:
        """Its limit."""
        return int(self._limit.read_text())

    def read(self) -> Reading:
        """How full it is."""
        used_bytes = int(self._used.read_text())
        idle_bytes = next(
            int(line.split()[1])
            for line in (self.folder / "memory.stat").read_text().splitlines()
            if line.startswith(f"{self._idle} ")
        )
        return Reading(max(used_bytes - idle_bytes, 0), self.limit_bytes())


def surroundings() -> Surroundings:
    """Those of this process, with the limits that are there now."""
    groups = []
    for group in cgroups_of(Path("/proc/self/cgroup").read_text(), CGROUPS):
        with suppress(OSError, ValueError):
            if group.limit_bytes() < UNLIMITED_BYTES:
                groups.append(group)
    return Surroundings(groups)


def cgroups_of(proc_cgroup: str, mount: Path) -> Iterator[CgroupFiles]:
    """The memory cgroups that /proc/self/cgroup names, innermost first, with all that they are in."""
    for line in proc_cgroup.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            yield from (CgroupFiles(folder, is_v2=True) for folder in _upwards(mount, path))
        elif "memory" in controllers.split(","):
            yield from (CgroupFiles(folder, is_v2=False) for folder in _upwards(mount / "memory", path))


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """From inside a container the path may not be there, and its own cgroup is what is mounted."""
    folder = mount / path.strip("/")
    while True:
        if folder.is_dir():
            yield folder
        if folder == mount:
            return
        folder = folder.parent


def machine(meminfo: str) -> Reading:
    """What /proc/meminfo says: what is not available is used."""
    fields = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in meminfo.splitlines()}
    return Reading(fields["MemTotal"] - fields["MemAvailable"], fields["MemTotal"])


def ancestor(generations: int) -> int:
    """The pid of this process's parent, of that one's parent, and so on; 0: itself."""
    pid = os.getpid()
    for _ in range(generations):
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid
