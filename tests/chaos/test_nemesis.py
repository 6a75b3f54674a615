"""The nemesis on a real tree: it hits whom it says, within its tree only, and undoes what it did whatever happens."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from regrow.chaos.fault import Freeze, Kill, Role
from regrow.chaos.nemesis import Nemesis, NotRecovered, NoVictim
from regrow.chaos.tree import TreeUnreadable, http_tree
from regrow.runtime.errors import ConfigError
from regrow.runtime.spec import ChildState
from regrow.runtime.tree import TreeNode
from support.cluster import Cluster, is_alive, running
from support.waiting import wait_until

RECOVERY_S = 15.0  # the promise is below 2 s; a loaded two-core machine gets more


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("nemesis"), "--workers", "3", "--slots", "1") as it:
        yield it


@pytest.fixture
def read_tree(cluster: Cluster) -> Callable[[], TreeNode]:
    """The way to look at the tree, once it is whole."""
    read = http_tree(cluster.url)

    def is_whole() -> bool:
        try:
            nodes = list(read().walk())
        except TreeUnreadable:
            return False
        return all(node.state is ChildState.RUNNING for node in nodes) and len(nodes) == 11

    wait_until(is_whole, RECOVERY_S, "root, store, dispatcher, gateway, pool, three workers, three slots")
    return read


def is_stopped(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def test_a_kill_ends_the_victim_and_its_recovery_is_timed(read_tree: Callable[[], TreeNode]) -> None:
    with Nemesis(read_tree) as nemesis:
        asked_at = time.monotonic()
        injection = nemesis.invoke(Kill(), Role.WORKER, "worker-1")
        recovery_s = nemesis.recovery_s(injection, RECOVERY_S)

    after = read_tree().find("root/workers/worker-1")
    assert injection.victim.path == "root/workers/worker-1"
    assert asked_at <= injection.at
    assert 0 < recovery_s <= time.monotonic() - injection.at
    assert not is_alive(injection.victim.pid)
    assert after is not None
    assert after.pid != injection.victim.pid
    assert after.incarnation == injection.victim.incarnation + 1


def test_the_same_seed_picks_the_same_victims_and_another_seed_others(read_tree: Callable[[], TreeNode]) -> None:
    def picked(seed: int) -> list[str]:
        nemesis = Nemesis(read_tree, seed)
        return [nemesis.pick(Role.WORKER).path for _ in range(12)]

    assert picked(7) == picked(7)
    assert picked(7) != picked(8)
    assert set(picked(7)) == {f"root/workers/worker-{n}" for n in range(3)}


@pytest.mark.parametrize("role", [Role.STORE, Role.DISPATCHER, Role.GATEWAY])
def test_every_kind_of_actor_can_be_killed_and_comes_back(read_tree: Callable[[], TreeNode], role: Role) -> None:
    with Nemesis(read_tree) as nemesis:
        injection = nemesis.invoke(Kill(), role)

        assert nemesis.recovery_s(injection, RECOVERY_S) < RECOVERY_S
        assert injection.victim.role == role


def test_a_frozen_worker_is_silent_and_is_replaced_after_its_window(read_tree: Callable[[], TreeNode]) -> None:
    with Nemesis(read_tree) as nemesis:
        injection = nemesis.invoke(Freeze(60.0), Role.WORKER)
        wait_until(lambda: is_stopped(injection.victim.pid), 2, "it is stopped")

        assert nemesis.recovery_s(injection, RECOVERY_S) >= 2.0
    assert not is_alive(injection.victim.pid)


def test_a_freeze_ends_by_itself_after_its_time(read_tree: Callable[[], TreeNode]) -> None:
    with Nemesis(read_tree) as nemesis:
        victim = nemesis.invoke(Freeze(0.3), Role.SLOT).victim
        wait_until(lambda: is_stopped(victim.pid), 2, "it is stopped")
        wait_until(lambda: not is_stopped(victim.pid), 3, "it goes on")


def test_the_shortest_freeze_ends_too(read_tree: Callable[[], TreeNode], monkeypatch: pytest.MonkeyPatch) -> None:
    sent = signal.pidfd_send_signal

    def send_late(pidfd: int, number: int) -> None:
        time.sleep(0.2)  # a loaded machine: a thaw that counted from its own start would be over by now
        sent(pidfd, number)

    monkeypatch.setattr(signal, "pidfd_send_signal", send_late)
    with Nemesis(read_tree) as nemesis:
        victim = nemesis.invoke(Freeze(0.001), Role.SLOT).victim
        wait_until(lambda: not is_stopped(victim.pid), 3, "it goes on")


@pytest.mark.parametrize("for_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_freeze_that_could_not_be_undone_in_time_is_refused(for_s: float) -> None:
    node = TreeNode("w", "root/w", Role.WORKER, 1, ChildState.RUNNING, 1, 0)

    with pytest.raises(ConfigError, match="use more than 0"):
        Nemesis(lambda: node).invoke(Freeze(for_s), Role.WORKER)


def test_teardown_undoes_every_freeze_at_once(read_tree: Callable[[], TreeNode]) -> None:
    with Nemesis(read_tree) as nemesis:
        pids = [nemesis.invoke(Freeze(60.0), Role.SLOT, f"root/workers/worker-{n}/slot-0").victim.pid for n in (0, 1)]
        again = nemesis.invoke(Freeze(60.0), Role.SLOT, "root/workers/worker-0/slot-0").victim.pid
        wait_until(lambda: all(map(is_stopped, pids)), 2, "both are stopped")
    left_at = time.monotonic()

    assert again == pids[0]
    wait_until(lambda: not any(map(is_stopped, pids)), 2, "both go on")
    assert time.monotonic() - left_at < 2
    assert all(map(is_alive, pids))


def test_a_freeze_is_undone_when_the_nemesis_is_killed(cluster: Cluster, read_tree: Callable[[], TreeNode]) -> None:
    words = f"chaos freeze slot --name root/workers/worker-0/slot-0 --for 60 --data-dir {cluster.data_dir}".split()
    slot = read_tree().find("root/workers/worker-0/slot-0")
    assert slot is not None
    pid = slot.pid or 0
    with subprocess.Popen([sys.executable, "-m", "regrow.runtime.cli", *words], stdout=subprocess.PIPE) as nemesis:
        wait_until(lambda: is_stopped(pid), 20, "the slot is stopped")

        nemesis.send_signal(signal.SIGKILL)

        wait_until(lambda: not is_stopped(pid), 2, "the slot goes on")
    assert is_alive(pid)


def test_a_victim_that_is_gone_is_refused_and_nobody_else_is_hit(read_tree: Callable[[], TreeNode]) -> None:
    stale = read_tree()
    worker = stale.find("root/workers/worker-2")
    assert worker is not None
    with Nemesis(read_tree) as nemesis:
        nemesis.recovery_s(nemesis.invoke(Kill(), Role.WORKER, worker.path), RECOVERY_S)
    before = {node.path: node.pid for node in read_tree().walk()}

    with Nemesis(lambda: stale) as nemesis, pytest.raises(NoVictim, match="gone"):
        nemesis.invoke(Kill(), Role.WORKER, worker.path)

    assert {node.path: node.pid for node in read_tree().walk()} == before


def test_a_later_process_with_the_victims_number_is_not_hit(
    read_tree: Callable[[], TreeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        node = TreeNode("w", "root/w", Role.WORKER, bystander.pid, ChildState.RUNNING, 1, 0)
        nemesis = Nemesis(lambda: node)
        victim = nemesis.pick(Role.WORKER)
        earlier = msgspec.structs.replace(victim, started_at=victim.started_at - 1)
        monkeypatch.setattr(nemesis, "pick", lambda *_: earlier)

        with pytest.raises(NoVictim, match="ended before it could be hit"):
            nemesis.invoke(Kill(), Role.WORKER)

        assert bystander.poll() is None
        bystander.kill()


@pytest.mark.parametrize("state", [ChildState.STARTING, ChildState.STOPPING, ChildState.BACKOFF])
def test_only_who_runs_is_a_victim(state: ChildState) -> None:
    node = TreeNode("worker-0", "root/worker-0", Role.WORKER, 1, state, 1, 0)

    with pytest.raises(NoVictim, match=r"no running worker in the tree \(of this role: worker-0\)"):
        Nemesis(lambda: node).invoke(Kill(), Role.WORKER)


def test_a_name_that_nobody_has_is_refused_with_the_names_there_are(read_tree: Callable[[], TreeNode]) -> None:
    with pytest.raises(NoVictim, match=r"no running worker called worker-9 .* worker-0, worker-1, worker-2"):
        Nemesis(read_tree).invoke(Kill(), Role.WORKER, "worker-9")


def test_who_does_not_come_back_in_time_is_not_recovered(read_tree: Callable[[], TreeNode]) -> None:
    with Nemesis(read_tree) as nemesis:
        injection = nemesis.invoke(Freeze(60.0), Role.SLOT)
        with pytest.raises(NotRecovered, match="was not running again"):
            nemesis.recovery_s(injection, 0.2)


def test_a_gateway_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TreeUnreadable, match="is 'regrow up' running"):
        http_tree("http://127.0.0.1:1")()
