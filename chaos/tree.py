"""Shell: what a running tree shows of itself, over HTTP, as any client gets it."""

from collections.abc import Callable
from typing import TypeVar

import msgspec
import urllib3

from regrow.chaos.lineage import lives, start_time
from regrow.runtime.errors import RegrowError
from regrow.runtime.tree import TreeNode

TIMEOUT_S = 1.0

AnswerT = TypeVar("AnswerT")


class WorkerSeen(msgspec.Struct, frozen=True):
    """What is needed here of one line of GET /v1/workers. ``busy_slots``: at work by its last beat; ``path``: in its tree."""

    name: str
    pid: int
    busy_slots: list[int]
    path: str = ""


class _Workers(msgspec.Struct):
    workers: list[WorkerSeen]


ReadTree = Callable[[], TreeNode]
ReadWorkers = Callable[[], list[WorkerSeen]]


class TreeUnreadable(RegrowError):
    """The gateway did not answer with a tree."""

    code = "tree_unreadable"


class TreeGone(TreeUnreadable):
    """It has ended, whoever may answer in its place."""

    code = "tree_gone"


def only(read: ReadTree, gateway: str, root_pid: int) -> ReadTree:
    """The same function for the tree with this root, as it runs now: never for one that takes its place.  Raises NoVictim."""
    started_at = start_time(root_pid)

    def read_it() -> TreeNode:
        if not lives(root_pid, started_at):
            raise TreeGone(f"the tree at {gateway} has ended: its root, process {root_pid}, is gone")
        return read()

    return read_it


def http_tree(gateway: str) -> ReadTree:
    """A function that reads the tree of the gateway at ``gateway`` (a URL).  It raises TreeUnreadable."""
    return _reader(f"{gateway}/v1/tree", TreeNode)


def http_workers(gateway: str) -> ReadWorkers:
    """A function that reads its workers.  It raises TreeUnreadable."""
    read = _reader(f"{gateway}/v1/workers", _Workers)
    return lambda: read().workers


def _reader(url: str, kind: type[AnswerT]) -> Callable[[], AnswerT]:
    pool = urllib3.PoolManager(retries=False, timeout=TIMEOUT_S)

    def read() -> AnswerT:
        try:
            return msgspec.json.decode(pool.request("GET", url).data, type=kind)
        except (urllib3.exceptions.HTTPError, msgspec.DecodeError) as error:
            raise TreeUnreadable(f"no tree from {url}: {error}; is 'regrow up' running?") from None

    return read
