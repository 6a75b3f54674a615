"""Shell: has the kernel killed something for want of memory? Read from what it counts.

``memory.events`` of this process's cgroup (v2), else ``memory.oom_control`` (v1), else the count of the whole machine. The count
is of processes killed, not of which: so a slot that was killed by nobody else is held for one of them if the count has risen
lately. "Lately" is since the look before the last, because the count rises some time before the process has ended.
"""

from pathlib import Path

MACHINE = "/proc/vmstat"


def count_file(proc_cgroup: str, mountinfo: str) -> Path:
    """Where to read it, from the texts of /proc/self/cgroup and /proc/self/mountinfo."""
    paths = {
        tuple(parts[1].split(",")): parts[2]
        for line in proc_cgroup.splitlines()
        if len(parts := line.split(":", 2)) == 3
    }
    for name, kind, controller in (("memory.events", "cgroup2", ""), ("memory.oom_control", "cgroup", "memory")):
        path = next((path for controllers, path in paths.items() if controller in controllers), "")
        for root, mount in _mounts(mountinfo, kind, controller) if path else []:
            for folder in (path.removeprefix(root.rstrip("/")), ""):  # in a namespace the path may not be there
                if (file := Path(f"{mount}/{folder}/{name}")).exists():
                    return file
    return Path(MACHINE)


def _mounts(mountinfo: str, kind: str, controller: str) -> list[tuple[str, str]]:
    """(root, mount point) of each mount of this kind of cgroup with this controller."""
    found = []
    for line in mountinfo.splitlines():
        front, _, back = line.partition(" - ")
        fields, (its_kind, _, options) = front.split(), back.split(" ", 2)
        if its_kind == kind and (not controller or controller in options.split(",")):
            found.append((fields[3], fields[4]))
    return found


def count_in(text: str) -> int:
    """Processes killed, as ``text`` says it."""
    pairs = [line.split() for line in text.splitlines()]
    return next((int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == "oom_kill"), 0)


class OomKills:
    """How many there were, at the last look and at the one before."""

    def __init__(self) -> None:
        self._file = count_file(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
        self._last = self._before = self._count()

    def look(self) -> None:
        """To be called about once a second."""
        self._before, self._last = self._last, self._count()

    def has_risen(self) -> bool:
        """Has it, lately?"""
        return self._count() > self._before

    def _count(self) -> int:
        try:
            return count_in(self._file.read_text())
        except OSError:
            return 0
