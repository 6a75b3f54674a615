"""Shell: the supervision tree as the gateway has to do with it: that it is in, or none."""

import os
from typing import Final, Protocol

from regrow.gateway.problems import ApiError
from regrow.runtime import tree
from regrow.runtime.async_actor import AsyncContext
from regrow.runtime.spec import ChildState
from regrow.runtime.tree import TreeNode

SNAPSHOT_S: Final = 3.0  # the root's answer; a supervisor answers at once
RESIZE_S: Final = 60.0  # a smaller pool is there when the workers that go have drained


class Tree(Protocol):
    """What can be asked of it. ``id`` is new each time that it is started."""

    id: str

    async def snapshot(self) -> TreeNode:
        """The whole tree.  Raises ActorError."""
        ...

    async def resize(self, size: int) -> None:
        """Give the pool of workers another size.  Raises ActorError."""
        ...


class NoTree:
    """A gateway that runs by itself."""

    id = ""

    async def snapshot(self) -> TreeNode:
        """Itself."""
        return TreeNode("gateway", "gateway", "gateway", os.getpid(), ChildState.RUNNING, 0, 0)

    async def resize(self, size: int) -> None:
        """Refused."""
        raise ApiError(
            "no_tree", f"it has no pool of workers to give size {size}: start them with regrow worker, or use regrow up"
        )


class TreeOf:
    """The supervision tree round an actor."""

    def __init__(self, context: AsyncContext) -> None:
        self._context = context
        self._root = context.path.partition("/")[0]
        self.id = context.tree

    async def snapshot(self) -> TreeNode:
        """The whole tree, by the root's knowledge.  Raises ActorError."""
        return await self._context.call(self._root, tree.Tree(), SNAPSHOT_S, TreeNode)

    async def resize(self, size: int) -> None:
        """Return when the pool has ``size`` workers.  Raises ActorError."""
        await self._context.call(f"{self._root}/workers", tree.Resize(size), RESIZE_S, tree.Done)
