"""Shell: what a tree and its store weigh at one moment, as the kernel and the store tell it."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from regrow.chaos.evidence import Census
from regrow.chaos.fate import descendants
from regrow.chaos.lineage import NoVictim, start_time
from regrow.chaos.scene import Scene
from regrow.chaos.store_door import StoreDoor, StoreShut
from regrow.runtime.tree import TreeNode

Process = tuple[int, int]  # pid, and start time in clock ticks since boot


def take_census(scene: Scene) -> Census:
    """Now.  Raises TreeUnreadable."""
    tree = scene.read_tree()
    pids = [pid for pid, _ in processes(tree.pid or 0)]
    return Census(
        time.monotonic(),
        tree,
        len(pids),
        sum(_each(_rss_bytes, pids)),
        _store_keys(scene),
        sum(_each(_open_files, pids)),
    )


def processes(root: int) -> list[Process]:
    """That process and all below it, each told from a later one with the same pid; those that have ended are left out."""
    found = []
    for pid in (root, *descendants(root)):
        with suppress(NoVictim):
            found.append((pid, start_time(pid)))
    return found


def _each(count: Callable[[int], int], pids: list[int]) -> list[int]:
    """Of those that have not ended meanwhile."""
    found = []
    for pid in pids:
        with suppress(OSError):
            found.append(count(pid))
    return found


def _rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 (their number is all that is wanted)


def _store_keys(scene: Scene) -> int | None:
    store: TreeNode | None = scene.store()
    if store is None or "url" not in store.facts:
        return None
    try:
        with StoreDoor(store.facts["url"]) as door:
            return door.keys()
    except StoreShut:
        return None
