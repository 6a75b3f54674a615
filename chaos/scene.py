"""Shell: the running tree that faults are done to, and what can be reached of it: the seam between faults and whoever has the tree.

An own tree, which the chaos process has started for this, has everything. A tree that somebody else runs has no proxies on
its links and no hook directory, so faults that need them are refused (``missing``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from regrow.chaos.fault import Role
from regrow.chaos.proxy import Proxy
from regrow.chaos.tree import ReadTree, ReadWorkers, WorkerSeen, http_tree, http_workers
from regrow.runtime.errors import ConfigError
from regrow.runtime.tree import TreeNode


class Need(StrEnum):
    """What a fault takes besides the tree itself."""

    VICTIM = "victim"  # a target: it is done to one process, or to several
    LINK = "link"  # our proxy on the link that it names
    STORE = "store"  # a store that the tree runs itself
    HOOKS = "hooks"  # a tree that was started with REGROW_CHAOS
    SUBMIT = "submit"  # a workload that it can add tasks to


class Link(StrEnum):
    """Who connects to whom."""

    CLIENT_GATEWAY = "client-gateway"
    GATEWAY_STORE = "gateway-store"
    DISPATCHER_STORE = "dispatcher-store"
    WORKER_DISPATCHER = "worker-dispatcher"


Submit = Callable[[str, int], None]  # kind of task, how many, at once and beside all others


@dataclass(frozen=True, slots=True)
class Scene:
    """One tree.  ``proxies`` by the name of their link; ``hooks``: the directory that its REGROW_CHAOS names."""

    gateway: str  # URL, past any proxy
    read_tree: ReadTree
    read_workers: ReadWorkers
    proxies: Mapping[str, Proxy] = field(default_factory=dict)
    hooks: Path | None = None
    submit: Submit | None = None

    @classmethod
    def of(
        cls,
        gateway: str,
        proxies: Mapping[str, Proxy] | None = None,
        hooks: Path | None = None,
        submit: Submit | None = None,
    ) -> "Scene":
        """The tree whose gateway is at that URL."""
        return cls(gateway, http_tree(gateway), http_workers(gateway), proxies or {}, hooks, submit)

    def missing(self, needs: frozenset[Need], link: str | None = None) -> str | None:
        """Why faults with these needs cannot be done here; None when they can."""
        if Need.LINK in needs and link not in self.proxies:
            there = ", ".join(sorted(self.proxies)) or "none"
            return f"there is no proxy on the link {link} (there are: {there}); let the run start its own tree, without --url"
        if Need.HOOKS in needs and self.hooks is None:
            return "the tree was not started for this; let the run start its own tree, without --url"
        if Need.SUBMIT in needs and self.submit is None:
            return "there is no workload to add tasks to; use it in a run"
        if Need.STORE in needs and self.store() is None:
            return "the tree does not run its store itself, and nobody else's store is touched; start the tree without --redis-url"
        return None

    def proxy(self, link: str) -> Proxy:
        """The proxy on that link.  Raises ConfigError where there is none."""
        if reason := self.missing(frozenset({Need.LINK}), link):
            raise ConfigError(reason)
        return self.proxies[link]

    def hook_directory(self) -> Path:
        """Where hooks of an own tree lie.  Raises ConfigError for another one."""
        if self.hooks is None:
            raise ConfigError(self.missing(frozenset({Need.HOOKS})) or "")
        return self.hooks

    def store(self) -> TreeNode | None:
        """The embedded store: its facts have ``url`` and ``server_pid`` once it is ready."""
        return next((node for node in self.read_tree().walk() if node.role == Role.STORE), None)

    def workers(self) -> list[WorkerSeen]:
        """The workers that the dispatcher knows, as of their last beats, at most about a second ago."""
        return self.read_workers()
