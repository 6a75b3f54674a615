"""A tree of one's own for faults: with a hook directory, and a proxy on each of its links."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from regrow.chaos.evidence import Strike
from regrow.chaos.experiment import Step, Target
from regrow.chaos.fault import Role
from regrow.chaos.nemesis import Nemesis
from regrow.chaos.proxy import Proxy
from regrow.chaos.scene import Link, Scene
from regrow.chaos.tree import TreeUnreadable
from regrow.runtime import hooks
from regrow.runtime.spec import ChildState
from support.cluster import Cluster, running
from support.waiting import wait_until

WHOLE_S = 20.0


class OwnTree:
    """``scene`` is what faults are done to, ``cluster`` what a client sees of it."""

    def __init__(self, cluster: Cluster, scene: Scene) -> None:
        self.cluster = cluster
        self.scene = scene
        self.submitted: list[tuple[str, int]] = []

    @property
    def proxied_url(self) -> str:
        """The gateway's, by the way of its proxy."""
        return self.scene.proxies[Link.CLIENT_GATEWAY].address.replace("tcp://", "http://")

    def wait_whole(self) -> "OwnTree":
        """Until all run, and all can be used."""

        def is_whole() -> bool:
            try:
                nodes = list(self.scene.read_tree().walk())
                workers = [node for node in nodes if node.role == Role.WORKER]
                return (
                    all(node.state is ChildState.RUNNING for node in nodes)
                    and all(node.children for node in workers)
                    and {seen.pid for seen in self.scene.read_workers()} >= {node.pid for node in workers}
                    and self.cluster.is_ready()
                )
            except TreeUnreadable:
                return False

        wait_until(is_whole, WHOLE_S, "all actors run, and all workers are registered", every=0.05)
        return self

    def log(self) -> str:
        return self.cluster.log_path.read_text()


def step(fault: str, target: Target | None = None, for_s: float | None = None, number: int = 1, **options: Any) -> Step:
    """One step of a plan."""
    return Step(number, 0.0, fault, options, target, for_s, 0)


def hit(nemesis: Nemesis, one: Step) -> Strike:
    """The strike of a step that must hit once."""
    (strike,) = nemesis.strike(one)
    assert strike.applied_at is not None, strike.detail
    return strike


@contextmanager
def own_tree(data_dir: Path, *flags: str, is_slow_death: bool = False) -> Iterator[OwnTree]:
    """A running one."""
    place = Path(tempfile.mkdtemp(prefix="own-"))
    (place / "links").mkdir()
    if is_slow_death:
        (place / "slow_death").touch()
    store = f"unix://{place}/run/store.sock"
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        to_store = {
            link: stack.enter_context(Proxy(store, f"unix://{place}/links/{link}.sock"))
            for link in (Link.GATEWAY_STORE, Link.DISPATCHER_STORE)
        }
        to_dispatcher = stack.enter_context(
            Proxy(
                lambda: (place / "addresses" / "dispatcher").read_text(),
                f"unix://{place}/links/{Link.WORKER_DISPATCHER}.sock",
                is_zmtp=True,
            )
        )
        environment = {hooks.VARIABLE: str(place)}
        cluster = stack.enter_context(running(data_dir, *flags, environment=environment))
        to_gateway = stack.enter_context(Proxy(cluster.url.replace("http://", "tcp://")))
        proxies = {**to_store, Link.WORKER_DISPATCHER: to_dispatcher, Link.CLIENT_GATEWAY: to_gateway}
        tree: OwnTree
        scene = Scene.of(cluster.url, proxies, place, lambda kind, count: tree.submitted.append((kind, count)))
        tree = OwnTree(cluster, scene)
        yield tree.wait_whole()


def seconds(act: Any) -> float:
    """How long it takes."""
    began = time.monotonic()
    act()
    return time.monotonic() - began
