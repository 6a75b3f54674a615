"""Core: whether the tree is as it was: same shape, nothing leaked, nobody left behind."""

from collections import Counter
from typing import Final

from regrow.chaos.docket import COMPLETED
from regrow.chaos.evidence import Census
from regrow.chaos.invariants.ruling import NO_CENSUS, Facts, Ruling, Violation
from regrow.chaos.kinds import LARGE_BYTES
from regrow.runtime.spec import ChildState
from regrow.runtime.tree import TreeNode

GROWTH: Final = 0.5  # of memory and descriptors, as a part of what there was
SPARE_KEYS: Final = 64  # a record of a dispatcher, of a worker, of a function ...
SPARE_FILES: Final = 32
SPARE_BYTES: Final = 64 << 20
TASK_BYTES: Final = 4096  # an ended task is kept, with its story
LARGE_COPIES: Final = 3  # of a large value: in the store, and in what its allocator keeps


def tree_healthy(facts: Facts, _: float | None) -> Ruling:
    """Every place filled once, by a process of its own; and no supervisor has given up on the way."""
    found = [
        Violation(f"it gave up: more restarts than its budget has ({move.reason})", path=move.path)
        for move in facts.docket.children
        if move.event == "supervisor.gave_up" and move.at >= facts.evidence.began
    ]
    before, after = facts.evidence.before, facts.evidence.after
    if before is None or after is None or _is_cut_short(facts):
        return Ruling(0, found, "", NO_CENSUS)
    found += _misshapen(before.tree, after.tree)
    return Ruling(sum(1 for _ in after.tree.walk()), found)


def _is_cut_short(facts: Facts) -> bool:
    """Whether the last census met a tree that had no time to heal."""
    return bool(facts.evidence.stopped_because) and facts.evidence.settled_at is None


def _misshapen(before: TreeNode, after: TreeNode) -> list[Violation]:
    was, now = _places(before), _places(after)
    found = [
        Violation(f"there was {was[path]} of it before, and there is {now[path]} after", path=path)
        for path in _changed(was, now)
    ]
    found += [
        Violation(f"it is {node.state}, with process {node.pid}", path=node.path)
        for node in after.walk()
        if node.state != ChildState.RUNNING or node.pid is None
    ]
    pids = Counter(node.pid for node in after.walk())
    shared = [node for node in after.walk() if node.pid is not None and pids[node.pid] > 1]
    return found + [Violation(f"it shares process {node.pid} with another", path=node.path) for node in shared]


def _changed(was: Counter[str], now: Counter[str]) -> list[str]:
    """Paths that are there more or less often; not those below one of them."""
    changed = {path for path in was | now if was[path] != now[path]}
    return sorted(path for path in changed if path.rpartition("/")[0] not in changed)


def _places(tree: TreeNode) -> Counter[str]:
    """How often each path is in the picture."""
    return Counter(node.path for node in tree.walk())


def memory(facts: Facts, bound: float | None) -> Ruling:
    """``bound``: growth of memory and descriptors, as a part.  Ended tasks are kept for a day: each is granted one key, and its value."""
    before, after = facts.evidence.before, facts.evidence.after
    if before is None or after is None or _is_cut_short(facts):
        return Ruling(0, [], "", NO_CENSUS)
    grown = _keys(facts, before, after), _rss(facts, before, after, bound), _files(before, after, bound)
    found = [Violation(why, path=after.tree.path) for why in grown if why]
    asked = {"keys of the store": after.store_keys, "descriptors": after.open_files}
    missing = [name for name, value in asked.items() if value is None]
    detail = f"memory: {before.rss_bytes >> 20} MiB before, {after.rss_bytes >> 20} MiB after"
    return Ruling(3 - len(missing), found, detail + (f"; not counted: {', '.join(missing)}" if missing else ""))


def _kept_tasks(facts: Facts) -> int:
    own = sum(case.invoked is not None for case in facts.docket.cases.values())
    canaries = len(facts.evidence.others) if facts.evidence.others is not None else len(facts.evidence.samples)
    return own + max(canaries, len(facts.docket.strangers))


def _keys(facts: Facts, before: Census, after: Census) -> str:
    if before.store_keys is None or after.store_keys is None:
        return ""
    granted = before.store_keys + _kept_tasks(facts) + SPARE_KEYS
    return (
        ""
        if after.store_keys <= granted
        else f"{after.store_keys} keys are in the store, and {granted} can be explained"
    )


def _rss(facts: Facts, before: Census, after: Census, bound: float | None) -> str:
    large = sum(
        case.kind == "large" and case.end is not None and case.end.status == COMPLETED
        for case in facts.docket.cases.values()
    )
    stored = _kept_tasks(facts) * TASK_BYTES + large * LARGE_BYTES * LARGE_COPIES
    granted = before.rss_bytes * (1 + (GROWTH if bound is None else bound)) + stored + SPARE_BYTES
    return (
        ""
        if after.rss_bytes <= granted
        else f"{after.rss_bytes >> 20} MiB are resident, and {int(granted) >> 20} MiB can be explained"
    )


def _files(before: Census, after: Census, bound: float | None) -> str:
    if before.open_files is None or after.open_files is None:
        return ""
    granted = before.open_files * (1 + (GROWTH if bound is None else bound)) + SPARE_FILES
    return (
        ""
        if after.open_files <= granted
        else f"{after.open_files} descriptors are open, and {int(granted)} can be explained"
    )


def no_orphans(facts: Facts, _: float | None) -> Ruling:
    """Nobody looked where there is no census after the run."""
    found = [Violation(f"a process of the tree lives on: {who}", path=who) for who in facts.evidence.orphans]
    after = facts.evidence.after
    return Ruling(after.processes if after else 0, found, "", "" if after else NO_CENSUS)
