"""The rules of supervision with real processes (those of the core's vectors that a process can show)."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from regrow.runtime import branch, child
from regrow.runtime.errors import ActorError, CallRefused, NoSuchActor
from regrow.runtime.spec import (
    AutoShutdown,
    Backoff,
    ChildSpec,
    Heartbeat,
    Intensity,
    Restart,
    Strategy,
    SupervisorSpec,
)
from regrow.runtime.supervisor import SETTLE_S
from regrow.runtime.tree import (
    Children,
    CountChildren,
    Counts,
    DeleteChild,
    Done,
    Resize,
    RestartChild,
    StartChild,
    TerminateChild,
    TreeNode,
    WhichChildren,
)
from support.actors import Die, Hang, Puppet, PuppetArguments
from support.processes import is_alive
from support.trees import RunningTree
from support.waiting import wait_until

OFTEN = Intensity(1000, 5.0)
AT_ONCE = Backoff(reset_after_s=0.0)


def puppet(
    name: str, restart: Restart = Restart.PERMANENT, fields: dict[str, Any] | None = None, **arguments: Any
) -> ChildSpec:
    return child(name, Puppet, PuppetArguments(**arguments), restart=restart, **(fields or {}))


def three(strategy: Strategy, journal: Path) -> SupervisorSpec:
    children = tuple(puppet(name, journal=str(journal)) for name in "abc")
    return SupervisorSpec(children, strategy, OFTEN, backoff=AT_ONCE)


def incarnations(tree: RunningTree) -> dict[str, int]:
    return {node.name: node.incarnation for node in tree.tree().children}


@pytest.mark.parametrize(
    ("strategy", "story", "after"),
    [
        (Strategy.ONE_FOR_ONE, ["start b"], {"a": 1, "b": 2, "c": 1}),
        (Strategy.REST_FOR_ONE, ["stop c", "start b", "start c"], {"a": 1, "b": 2, "c": 2}),
        (Strategy.ONE_FOR_ALL, ["stop c", "stop a", "start a", "start b", "start c"], {"a": 2, "b": 2, "c": 2}),
    ],
)
def test_a_strategy_restarts_its_siblings_in_order(
    strategy: Strategy, story: list[str], after: dict[str, int], tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    with RunningTree(three(strategy, journal)) as tree:
        journal.write_text("")

        kill_by_message(tree, "root/b", "exit:1")

        wait_until(lambda: len(journal.read_text().splitlines()) == len(story), 5, "the story is complete")
        wait_until(lambda: all(node.state == "running" for node in tree.tree().children), 5, "all run again")
        assert journal.read_text().splitlines() == story
        assert incarnations(tree) == after
        assert str(tree.downs("root/b")[0]) == "exit:1"


@pytest.mark.parametrize(
    ("restart", "how", "comes_back"),
    [
        (Restart.PERMANENT, "normal", True),
        (Restart.TRANSIENT, "normal", False),
        (Restart.TRANSIENT, "shutdown", False),
        (Restart.TRANSIENT, "exit:1", True),
        (Restart.TEMPORARY, "SIGKILL", False),
    ],
)
def test_a_restart_type_decides_who_comes_back(restart: Restart, how: str, comes_back: bool) -> None:
    spec = SupervisorSpec((puppet("a", restart), puppet("witness")), intensity=OFTEN, backoff=AT_ONCE)
    with RunningTree(spec) as tree:
        kill_by_message(tree, "root/a", how)

        if comes_back:
            tree.wait_running("root/a", incarnation=2)
        else:
            wait_until(lambda: tree.downs("root/a"), 5, "it is down")
            listed = tree.call("root", WhichChildren(), Children).children
            states = {line.id: line.state for line in listed}
            assert states.get("a") == (None if restart is Restart.TEMPORARY else "exited")


def kill_by_message(tree: RunningTree, path: str, how: str) -> None:
    """Tell a puppet to die; whether its answer or its death is told first is open."""
    with suppress(NoSuchActor):
        tree.call(path, Die(how))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("normal", "normal"),
        ("shutdown", "shutdown"),
        ("exit:7", "exit:7"),
        ("SIGSEGV", "signal:SIGSEGV"),
        ("raise", "exception:ValueError"),
    ],
)
def test_the_reason_of_an_end_is_told_apart(how: str, reason: str) -> None:
    with RunningTree(SupervisorSpec((puppet("a"),), intensity=OFTEN, backoff=AT_ONCE)) as tree:
        kill_by_message(tree, "root/a", how)

        down = wait_until(lambda: tree.downs("root/a"), 5, "it is down")[0]
        assert str(down) == reason
        if how == "raise":
            assert "told to" in down.note
            assert "Traceback" in down.note


def test_a_temporary_sibling_stopped_by_one_for_all_is_forgotten() -> None:
    spec = SupervisorSpec((puppet("a"), puppet("t", Restart.TEMPORARY)), Strategy.ONE_FOR_ALL, OFTEN, backoff=AT_ONCE)
    with RunningTree(spec) as tree:
        tree.kill("root/a")

        tree.wait_running("root/a", incarnation=2)
        assert incarnations(tree) == {"a": 2}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"start": "raise"}, "exception:ValueError"),
        ({"start": "exit"}, "exit:3"),
        ({"start": "config"}, "exception:ConfigError"),
        ({"start": "hang", "fields": {"start_timeout_s": 0.5}}, "start_timeout"),
        ({"start": "silent", "fields": {"start_timeout_s": 0.5}}, "start_timeout"),
    ],
)
def test_a_child_that_cannot_start_ends_the_tree_with_a_report_that_names_it(
    bad: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    tree = RunningTree(SupervisorSpec((puppet("good", journal=str(journal)), puppet("bad", **bad))))
    try:
        code = tree.process.wait(15)

        assert code == 1
        assert "regrow: root gave up" in tree.errors()
        assert f"child bad: {reason}" in tree.errors()
        assert journal.read_text().splitlines() == ["start good", "stop good"]
        if bad["start"] == "config":
            assert tree.errors().rstrip().endswith("no such string: tie one on")
    finally:
        tree.close()


def test_a_deep_child_that_stops_starting_ends_the_root_with_its_story() -> None:
    worker = child("worker", Puppet, PuppetArguments("config"))
    pool = SupervisorSpec(pool=worker, size=1, backoff=Backoff(min_s=0.01))
    tree = RunningTree(SupervisorSpec((branch("pool", pool),)))
    try:
        assert tree.process.wait(15) == 1
        assert "child pool" in tree.errors()
        assert "child worker-0: exception:ConfigError" in tree.errors()
        assert tree.errors().rstrip().endswith("no such string: tie one on")
    finally:
        tree.close()


def born_at(node: TreeNode) -> float:
    """When its process was started (seconds of CLOCK_BOOTTIME); how long it then takes to its first word is another matter."""
    fields = Path(f"/proc/{node.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def test_a_kill_per_second_is_survived_with_the_child_back_at_once() -> None:
    spec = SupervisorSpec((puppet("a"),), intensity=Intensity(20, 10.0))
    with RunningTree(spec) as tree:
        gaps = []
        for life in range(1, 7):
            running = tree.wait_running("root/a", incarnation=life)
            ready_at = time.monotonic()
            wait_until(lambda: time.monotonic() > ready_at + 1.0, 2, "it has been ready for a second")  # noqa: B023
            assert running.pid is not None
            killed_at = time.clock_gettime(time.CLOCK_BOOTTIME)
            os.kill(running.pid, signal.SIGKILL)
            following = tree.wait_running("root/a", incarnation=life + 1)
            gaps.append(born_at(following) - killed_at)

        assert max(gaps) < 1.0, gaps
        assert tree.node("root/a").restarts == 6


def test_more_deaths_than_the_intensity_allows_end_the_tree() -> None:
    tree = RunningTree(SupervisorSpec((puppet("a"),), intensity=Intensity(1, 5.0), backoff=AT_ONCE))
    with tree:
        tree.kill("root/a")
        tree.wait_running("root/a", incarnation=2)
        tree.kill("root/a")

        assert tree.process.wait(10) == 1
        assert "child a: signal:SIGKILL" in tree.errors()


@pytest.mark.parametrize(("restart", "comes_back"), [(Restart.TRANSIENT, False), (Restart.PERMANENT, True)])
def test_a_branch_that_gives_up_ends_with_shutdown(restart: Restart, comes_back: bool) -> None:
    inner = SupervisorSpec((puppet("a"),), intensity=Intensity(0, 5.0))
    spec = SupervisorSpec((branch("inner", inner, restart=restart),), intensity=OFTEN, backoff=AT_ONCE)
    with RunningTree(spec) as tree:
        tree.kill("root/inner/a")

        down = wait_until(lambda: tree.downs("root/inner"), 10, "the branch is down")[0]
        assert down.is_normal
        if comes_back:
            tree.wait_running("root/inner/a")
            assert tree.node("root/inner").restarts == 1
        else:
            assert tree.node("root/inner").state == "exited"


def test_a_child_that_ignores_its_stop_is_killed_after_its_grace_with_its_grandchild() -> None:
    deaf = puppet("deaf", heeds_stop=False, has_grandchild=True, fields={"shutdown_s": 0.4})
    with RunningTree(SupervisorSpec((deaf,))) as tree:
        pid, grandchild = tree.pid("root/deaf"), tree.ask("root/deaf").grandchild
        assert grandchild is not None
        assert is_alive(grandchild)

        asked_at = time.monotonic()
        tree.call("root", TerminateChild("deaf"), Done)
        took_s = time.monotonic() - asked_at

        assert 0.4 <= took_s < 2
        assert not is_alive(pid)
        wait_until(lambda: not is_alive(grandchild), 2, "the grandchild is gone")


def test_what_a_child_has_forked_ends_with_it() -> None:
    with RunningTree(SupervisorSpec((puppet("a", has_grandchild=True),), backoff=AT_ONCE)) as tree:
        grandchild = tree.ask("root/a").grandchild
        assert grandchild is not None

        tree.kill("root/a")

        wait_until(lambda: not is_alive(grandchild), 2, "the grandchild is gone")


def test_a_stopped_child_is_killed_and_replaced_after_its_window_of_silence() -> None:
    quick = {"heartbeat": Heartbeat(0.2, 3)}
    with RunningTree(SupervisorSpec((puppet("a", fields=quick),), backoff=AT_ONCE)) as tree:
        stopped_at = time.monotonic()
        pid = tree.kill("root/a", signal.SIGSTOP)

        tree.wait_running("root/a", incarnation=2)
        down = tree.downs("root/a")[0]
        down_at = next(line.at for line in tree.events() if line.kind == "child_down")
        assert str(down) == "heartbeat_lost"
        assert 0.35 < down_at - stopped_at < 1.5
        assert not is_alive(pid)


def test_a_child_whose_loop_hangs_is_overdue_but_one_without_heartbeat_is_left_alone() -> None:
    quick, never = {"heartbeat": Heartbeat(0.1, 3)}, {"heartbeat": None}
    spec = SupervisorSpec((puppet("judged", fields=quick), puppet("free", fields=never)), backoff=AT_ONCE)
    with RunningTree(spec) as tree:
        free = tree.pid("root/free")
        for path in ("root/free", "root/judged"):
            with pytest.raises(ActorError, match=r"did not answer|ended \(heartbeat_lost\)"):
                tree.call(path, Hang(1.5), timeout_s=0.05 if path == "root/free" else 5)

        assert tree.wait_running("root/judged", incarnation=2)
        assert tree.ask("root/free").pid == free


def test_a_supervisor_that_was_itself_suspended_judges_nobody() -> None:
    """As when the machine sleeps: the child could not beat either."""
    quick = {"heartbeat": Heartbeat(0.2, 3)}
    with RunningTree(SupervisorSpec((puppet("a", fields=quick),))) as tree:
        pid = tree.pid("root/a")
        tree.process.send_signal(signal.SIGSTOP)
        os.kill(pid, signal.SIGSTOP)
        asleep_at = time.monotonic()
        wait_until(lambda: time.monotonic() > asleep_at + 2.0, 3, "they slept longer than the window")

        tree.process.send_signal(signal.SIGCONT)
        wait_until(lambda: "loop.gap" in tree.errors(), 5, "the supervisor noticed the gap")
        os.kill(pid, signal.SIGCONT)

        awake_at = time.monotonic()
        wait_until(lambda: time.monotonic() > awake_at + 1.0, 3, "its judgement would have come")
        assert tree.ask("root/a").pid == pid


def test_after_a_suspension_everyone_has_one_whole_window_again() -> None:
    """Longer than the supervisor listens before it judges: nobody hears everyone at once."""
    window_s = 4.0
    slow = {"heartbeat": Heartbeat(window_s / 4, 4)}
    spec = SupervisorSpec((puppet("late", fields=slow), puppet("gone", fields=slow)), backoff=AT_ONCE)
    with RunningTree(spec) as tree:
        pids = {path: tree.pid(path) for path in ("root/late", "root/gone")}
        tree.process.send_signal(signal.SIGSTOP)
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)
        asleep_at = time.monotonic()
        wait_until(lambda: time.monotonic() > asleep_at + window_s + 0.5, 6, "they slept longer than the window")

        awake_at = time.monotonic()
        tree.process.send_signal(signal.SIGCONT)
        wait_until(lambda: "loop.gap" in tree.errors(), 5, "the supervisor noticed the gap")
        heard_at = time.monotonic()
        wait_until(lambda: time.monotonic() > heard_at + SETTLE_S + 0.5, 3, "it judges again")
        os.kill(pids["root/late"], signal.SIGCONT)

        tree.wait_running("root/gone", incarnation=2)
        [down] = [line for line in tree.events() if line.kind == "child_down"]
        assert (down.path, str(down.reason)) == ("root/gone", "heartbeat_lost")
        assert down.at >= awake_at + window_s
        assert tree.ask("root/late").pid == pids["root/late"]


def test_a_stop_request_while_a_child_is_in_backoff_starts_nothing(tmp_path: Path) -> None:
    spec = SupervisorSpec(
        (puppet("a", journal=str(tmp_path / "journal")),), backoff=Backoff(min_s=60, max_s=60, reset_after_s=60)
    )
    with RunningTree(spec) as tree:
        kill_by_message(tree, "root/a", "exit:1")
        wait_until(lambda: tree.node("root/a").state == "backoff", 5, "it is in backoff")

        asked_at = time.monotonic()
        assert tree.stop() == 0

        assert time.monotonic() - asked_at < 2
        assert (tmp_path / "journal").read_text().splitlines() == ["start a"]


def test_children_stop_in_reverse_order_and_may_drain(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    children = tuple(puppet(name, journal=str(journal), drain_s=0.2) for name in "abc")
    with RunningTree(SupervisorSpec(children)) as tree:
        journal.write_text("")

        assert tree.stop() == 0

        assert journal.read_text().splitlines() == ["stop c", "stop b", "stop a"]
        assert {str(line.reason) for line in tree.events() if line.kind == "child_down"} == {"shutdown"}


def test_a_second_interrupt_kills_at_once() -> None:
    deaf = puppet("deaf", heeds_stop=False, fields={"shutdown_s": 60.0})
    with RunningTree(SupervisorSpec((deaf,))) as tree:
        pid = tree.pid("root/deaf")
        tree.process.send_signal(signal.SIGINT)
        wait_until(lambda: tree.node("root/deaf").state == "stopping", 5, "it is being stopped")

        tree.process.send_signal(signal.SIGINT)

        tree.process.wait(3)
        assert not is_alive(pid)


def test_a_significant_child_that_ends_by_itself_ends_its_supervisor() -> None:
    one = puppet("one", Restart.TRANSIENT, fields={"significant": True})
    spec = SupervisorSpec((one, puppet("other")), auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    with RunningTree(spec) as tree:
        tree.call("root", TerminateChild("one"), Done)
        tree.call("root", RestartChild("one"), Done)  # the supervisor still lives

        kill_by_message(tree, "root/one", "normal")

        assert tree.process.wait(10) == 0


def test_children_can_be_added_stopped_restarted_and_deleted() -> None:
    with RunningTree(SupervisorSpec((puppet("a"),))) as tree:
        tree.call("root", StartChild(puppet("b")), Done)
        assert tree.ask("root/b").incarnation == 1
        assert tree.call("root", CountChildren(), Counts) == Counts(specs=2, active=2, supervisors=0, workers=2)
        with pytest.raises(CallRefused, match="already_started"):
            tree.call("root", StartChild(puppet("b")), Done)

        tree.call("root", TerminateChild("b"), Done)
        with pytest.raises(CallRefused, match="running"):
            tree.call("root", DeleteChild("a"), Done)
        tree.call("root", RestartChild("b"), Done)
        assert tree.ask("root/b").incarnation == 2

        tree.call("root", TerminateChild("b"), Done)
        tree.call("root", DeleteChild("b"), Done)
        assert tree.call("root", CountChildren(), Counts).specs == 1


def test_a_resized_pool_comes_back_with_its_size_whichever_supervisor_above_it_is_killed() -> None:
    pool = branch("pool", SupervisorSpec(pool=child("w", Puppet), size=1))
    outer = branch("outer", SupervisorSpec((branch("inner", SupervisorSpec((pool,))),)))
    with RunningTree(SupervisorSpec((outer,))) as tree:
        tree.call("root/outer/inner/pool", Resize(3), Done)

        for path in ("root/outer/inner/pool", "root/outer/inner", "root/outer"):
            tree.kill(path)
            tree.wait_running(path, incarnation=2)
            tree.wait_running("root/outer/inner/pool/w-2")


def test_who_was_answered_finds_the_change_in_the_picture_of_the_root() -> None:
    pool = branch("pool", SupervisorSpec(pool=child("w", Puppet), size=1))
    outer = branch("outer", SupervisorSpec((branch("inner", SupervisorSpec((pool,))),)))
    with RunningTree(SupervisorSpec((outer,))) as tree:
        for size in (4, 2, 5, 0, 3):
            tree.call("root/outer/inner/pool", Resize(size), Done)

            assert len(tree.node("root/outer/inner/pool").children) == size


def test_a_pool_starts_together_and_is_resized_while_it_runs() -> None:
    pool = SupervisorSpec(pool=child("w", Puppet), size=2)
    with RunningTree(SupervisorSpec((branch("pool", pool),))) as tree:
        tree.call("root/pool", Resize(4), Done)
        wait_until(lambda: tree.wait_running("root/pool/w-3"), 10, "the fourth runs")

        tree.call("root/pool", Resize(1), Done)

        names = [node.name for node in wait_until(lambda: tree.node("root/pool").children, 5, "shown")]
        wait_until(
            lambda: [node.name for node in tree.node("root/pool").children] == ["w-0"], 5, f"one left of {names}"
        )
        with pytest.raises(CallRefused, match="max_children"):
            tree.call("root/pool", Resize(5000), Done)


def test_the_tree_is_shown_at_once_though_a_branch_hangs() -> None:
    pool = SupervisorSpec(pool=child("w", Puppet), size=2)
    with RunningTree(SupervisorSpec((branch("pool", pool),))) as tree:
        wait_until(lambda: len(tree.node("root/pool").children) == 2, 5, "the branch is shown")
        pid = tree.kill("root/pool", signal.SIGSTOP)

        picture = tree.tree()

        os.kill(pid, signal.SIGCONT)
        roles = {node.path: node.role for node in picture.walk()}
        assert roles == {
            "root": "root",
            "root/pool": "supervisor",
            "root/pool/w-0": "puppet",
            "root/pool/w-1": "puppet",
        }


def test_a_process_is_titled_with_its_path() -> None:
    with RunningTree(SupervisorSpec((puppet("a"),))) as tree:
        title = Path(f"/proc/{tree.pid('root/a')}/cmdline").read_bytes().rstrip(b"\0 ")

        assert title == b"regrow: root/a"
