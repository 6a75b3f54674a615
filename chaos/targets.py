"""Shell: who is hit: running processes of one tree, by role, name, or by what they are doing."""

import time
from random import Random
from typing import Final

from regrow.chaos.experiment import Doing, Target
from regrow.chaos.fault import Role, Victim
from regrow.chaos.lineage import NoVictim, is_below, start_time
from regrow.chaos.scene import Scene
from regrow.chaos.tree import TreeUnreadable, WorkerSeen
from regrow.runtime.spec import ChildState
from regrow.runtime.tree import TreeNode

PATIENCE_S: Final = 2.5  # what workers do is told by their beats, once a second
AGAIN_S: Final = 0.05


class NoSuchActor(NoVictim):
    """The tree has nobody of that role and name, running or not."""


def wait_for_victims(scene: Scene, target: Target, chance: Random, patience_s: float = PATIENCE_S) -> list[Victim]:
    """Whom the target means, once there is somebody who runs and does what it says, and a gateway that tells.

    Raises NoVictim and TreeUnreadable when there was none for ``patience_s`` seconds, and NoSuchActor at once.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return find_victims(scene, target, chance)
        except NoSuchActor:
            raise
        except (NoVictim, TreeUnreadable):
            if time.monotonic() > deadline:
                raise
        time.sleep(AGAIN_S)


def find_victims(scene: Scene, target: Target, chance: Random) -> list[Victim]:
    """Whom the target means now, in the order of their paths; one, unless it picks all.  Raises NoVictim, with who there is."""
    root = scene.read_tree()
    nodes = sorted((node for node in root.walk() if node.role == target.role), key=lambda node: node.path)
    meant = [node for node in nodes if not target.name or target.name in (node.name, node.path)]
    found = [node for node in meant if node.pid and node.state is ChildState.RUNNING]
    if found:
        found = doing(scene, found, target.doing)
    if not found:
        there = ", ".join(node.name for node in nodes) or "none"
        called = f" called {target.name}" if target.name else ""
        what = "" if target.doing is Doing.ANYTHING else f" that is {target.doing.value.replace('_', ' a ')}"
        kind = NoVictim if meant else NoSuchActor
        raise kind(f"no running {target.role}{called}{what} in the tree (of this role: {there})")
    if target.pick == "random":
        found = [chance.choice(found)]
    elif target.pick == "first":
        found = found[:1]
    return [victim_of(node, root) for node in found]


def doing(scene: Scene, nodes: list[TreeNode], what: Doing) -> list[TreeNode]:
    """Those that do it, as of their worker's last beat, at most about a second ago."""
    if what is Doing.ANYTHING:
        return nodes
    workers = {worker.path: worker for worker in scene.workers()}
    known = [(workers[path], node) for node in nodes if (path := _worker_path(node)) in workers]
    return [node for worker, node in known if _is_at_work(worker, node) == (what is Doing.RUNNING_TASK)]


def _is_at_work(worker: WorkerSeen, node: TreeNode) -> bool:
    """The worker, or this slot of it."""
    if node.role != Role.SLOT:
        return bool(worker.busy_slots)
    return node.name in {f"slot-{number}" for number in worker.busy_slots}


def victim_of(node: TreeNode, root: TreeNode) -> Victim:
    """That process, now.  Raises NoVictim when it has ended, or is none that this tree has on this machine."""
    pid = node.pid or 0
    started_at = start_time(pid)
    if not is_below(pid, root.pid or 0):
        raise NoVictim(f"process {pid} is not {node.path}: it was not started by the tree's root, process {root.pid}")
    return Victim(node.path, node.role, pid, node.incarnation, started_at)


def _worker_path(node: TreeNode) -> str:
    return node.path.rpartition("/")[0] if node.role == Role.SLOT else node.path
