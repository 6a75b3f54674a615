"""Shell: the tree that an experiment is made on: one of its own, or a running one that allows it.

::

    an own one    client ──▶ proxy ──▶ gateway        started by ``regrow up`` in a private directory, with a proxy on each link;
                  gateway ──▶ proxy ──▶ store         ends with this process, whatever happens to it
                  ...
    attached      client ──▶ gateway                  of somebody else, on this machine, with --allow-chaos; nothing between its parts
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from regrow.chaos.experiment import Configuration
from regrow.chaos.own_tree import OwnTree, private_home
from regrow.chaos.permission import attach
from regrow.chaos.proxy import Proxy
from regrow.chaos.scene import Link, Scene, Submit
from regrow.runtime.errors import ConfigError


class Extra:
    """The way from faults, which are known first, to the workload that takes their tasks."""

    def __init__(self) -> None:
        self.submit: Submit | None = None

    def __call__(self, kind: str, count: int) -> None:
        if self.submit is not None:
            self.submit(kind, count)


@dataclass(slots=True)
class Stage:
    """``door``: URL at which clients come in.  ``tree``: an own one; others may use one that is not."""

    scene: Scene
    door: str
    extra: Extra = field(default_factory=Extra)
    tree: OwnTree | None = None

    def end(self) -> tuple[str, ...]:
        """Stop an own tree; its processes that outlived it."""
        return () if self.tree is None else self.tree.end()

    def skew_s(self) -> float:
        """By how much a fault has made the wall clock of its processes wrong."""
        try:
            return 0.0 if self.scene.hooks is None else float((self.scene.hooks / "clock").read_text())
        except (FileNotFoundError, ValueError):
            return 0.0


@contextmanager
def attached(url: str) -> Iterator[Stage]:
    """The running tree of this machine whose gateway is at ``url``, if it allows chaos.  Raises ConfigError, TreeUnreadable."""
    extra = Extra()
    scene = replace(attach(url.rstrip("/")), submit=extra)
    yield Stage(scene, scene.gateway, extra)


@contextmanager
def own(configuration: Configuration, log: Path) -> Iterator[Stage]:
    """A tree for this alone, ready when the block begins and gone when it ends.  Raises ProgramFailed, ConfigError."""
    with ExitStack() as stack:
        home = stack.enter_context(private_home())
        proxies = {link: stack.enter_context(proxy) for link, proxy in _hooked(home).items()}
        tree = OwnTree(configuration, home, log)
        stack.callback(tree.kill)
        tree.start()
        gateway = tree.wait_ready()
        door = stack.enter_context(Proxy(gateway.replace("http://", "tcp://")))
        extra = Extra()
        scene = Scene.of(gateway, {**proxies, Link.CLIENT_GATEWAY: door}, home, extra)
        yield Stage(scene, f"http://127.0.0.1:{door.port}", extra, tree)


def _hooked(home: Path) -> dict[str, Proxy]:
    """A proxy for each link inside of a tree that is about to be started in ``home``.  Raises ConfigError."""
    links = home / "links"
    links.mkdir()
    store = f"unix://{home}/run/store.sock"
    try:
        return {
            Link.GATEWAY_STORE: Proxy(store, f"unix://{links}/{Link.GATEWAY_STORE}.sock"),
            Link.DISPATCHER_STORE: Proxy(store, f"unix://{links}/{Link.DISPATCHER_STORE}.sock"),
            Link.WORKER_DISPATCHER: Proxy(
                (home / "addresses" / "dispatcher").read_text,
                f"unix://{links}/{Link.WORKER_DISPATCHER}.sock",
                is_zmtp=True,
            ),
        }
    except OSError as error:
        raise ConfigError(f"{links}: {error}; set TMPDIR to a directory with a shorter name") from None
