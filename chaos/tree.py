"""Shell: a running tree's picture, over HTTP, as any client gets it."""

from collections.abc import Callable

import msgspec
import urllib3

from regrow.runtime.errors import RegrowError
from regrow.runtime.tree import TreeNode

TIMEOUT_S = 1.0


class TreeUnreadable(RegrowError):
    """The gateway did not answer with a tree."""

    code = "tree_unreadable"


def http_tree(gateway: str) -> Callable[[], TreeNode]:
    """A function that reads the tree of the gateway at ``gateway`` (a URL).  It raises TreeUnreadable."""
    pool = urllib3.PoolManager(retries=False, timeout=TIMEOUT_S)

    def read() -> TreeNode:
        try:
            answer = pool.request("GET", f"{gateway}/v1/tree")
            return msgspec.json.decode(answer.data, type=TreeNode)
        except (urllib3.exceptions.HTTPError, msgspec.DecodeError) as error:
            raise TreeUnreadable(f"no tree from {gateway}/v1/tree: {error}; is 'regrow up' running?") from None

    return read
