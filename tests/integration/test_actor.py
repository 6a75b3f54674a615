"""Actors talk: calls, casts, monitors, mailboxes, across a tree of real processes."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from regrow.runtime import branch, child
from regrow.runtime.errors import CallRefused, CallTimeout, NoSuchActor
from regrow.runtime.spec import Backoff, ChildSpec, Heartbeat, Intensity, Restart, SupervisorSpec
from regrow.runtime.tree import Done, TerminateChild
from support.actors import Ask, AsyncPuppet, Die, Flood, Hang, Puppet, PuppetArguments, Relay, Told, Watch
from support.trees import RunningTree
from support.waiting import wait_until

KINDS = [Puppet, AsyncPuppet]


def puppet(name: str, kind: Any = Puppet, **fields: Any) -> ChildSpec:
    return child(name, kind, PuppetArguments(), **fields)


def tree_of(*children: ChildSpec) -> RunningTree:
    return RunningTree(SupervisorSpec(children, intensity=Intensity(100, 5.0), backoff=Backoff(reset_after_s=0.0)))


def relayed(tree: RunningTree, asker: str, message: Relay) -> str:
    told = tree.call(asker, message, Told, 10.0)
    return told.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_crosses_branches_and_comes_back(kind: Any) -> None:
    inner = SupervisorSpec((puppet("x", kind),))
    with tree_of(branch("left", inner), branch("right", inner)) as tree:
        assert relayed(tree, "root/left/x", Relay("root/right/x", 5.0, "hello")) == "hello"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["root/nobody", "root/a/below", "elsewhere", "root/gone"])
def test_a_call_to_nobody_fails_at_once(kind: Any, path: str) -> None:
    with tree_of(puppet("a", kind), puppet("gone", restart=Restart.TRANSIENT)) as tree:
        tree.call("root", TerminateChild("gone"), Done)
        asked_at = time.monotonic()

        answer = relayed(tree, "root/a", Relay(path, 10.0))

        assert answer.startswith("no_such_actor")
        assert time.monotonic() - asked_at < 1


@pytest.mark.parametrize("how", ["SIGKILL", "raise", "exit:1", "normal"])
def test_a_caller_is_answered_when_the_called_dies_over_it(how: str) -> None:
    with tree_of(puppet("a"), puppet("b")) as tree:
        asked_at = time.monotonic()

        answer = relayed(tree, "root/a", Relay("root/b", 10.0, how=how))

        assert answer.startswith("no_such_actor") or how == "normal"
        assert time.monotonic() - asked_at < 2


def test_a_caller_is_answered_when_the_branch_of_the_called_dies() -> None:
    with tree_of(puppet("a"), branch("inner", SupervisorSpec((puppet("b"),)))) as tree:
        tree.call("root/a", Relay("root/inner/b", 5.0), Told)
        with pytest.raises(CallTimeout):
            tree.call("root/inner/b", Hang(5), timeout_s=0.05)
        with pytest.raises(CallTimeout):
            tree.call("root/a", Relay("root/inner/b", 10.0), timeout_s=0.05)
        tree.kill("root/inner")
        killed_at = time.monotonic()

        assert tree.ask("root/a", "free again").text == "free again"
        assert time.monotonic() - killed_at < 2


def test_a_call_that_is_not_answered_times_out_and_beats_go_on_meanwhile() -> None:
    quick = {"heartbeat": Heartbeat(0.1, 3)}
    with tree_of(puppet("a", **quick), puppet("b", heartbeat=None)) as tree:
        answer = relayed(tree, "root/a", Relay("root/b", 1.0, hang_s=1.5))

        assert answer.startswith("call_timeout")
        assert tree.ask("root/a").incarnation == 1


@pytest.mark.parametrize("text", ["refuse me"])
def test_an_error_raised_on_purpose_reaches_the_caller_and_harms_nobody(text: str) -> None:
    with tree_of(puppet("a")) as tree:
        with pytest.raises(CallRefused, match="config: as you wish"):
            tree.ask("root/a", text)

        assert tree.ask("root/a").incarnation == 1


def test_an_answer_can_be_deferred() -> None:
    with tree_of(puppet("a")) as tree:
        assert tree.ask("root/a", "later").text == "later"


def test_a_deferred_call_is_answered_even_when_its_actor_dies_before() -> None:
    with tree_of(puppet("a"), puppet("b")) as tree:
        with pytest.raises(CallTimeout):
            tree.call("root/a", Relay("root/b", 10.0, "never"), timeout_s=0.3)

        tree.kill("root/b")

        assert tree.ask("root/a", "free").text == "free"


@pytest.mark.parametrize("kind", KINDS)
def test_a_monitor_tells_a_death_exactly_once(kind: Any) -> None:
    with tree_of(
        puppet("a", kind), branch("inner", SupervisorSpec((puppet("b"),), intensity=Intensity(9, 5.0)))
    ) as tree:
        for path in ("root/inner/b", "root/inner", "root/nobody"):
            tree.call("root/a", Watch(path))
        tree.kill("root/inner/b")
        tree.wait_running("root/inner/b", incarnation=2)
        tree.kill("root/inner/b")
        tree.wait_running("root/inner/b", incarnation=3)

        tree.kill("root/inner")
        tree.wait_running("root/inner", incarnation=2)

        downs = wait_until(lambda: ds if len(ds := tree.ask("root/a").downs) == 3 else None, 5, "three downs")
        assert {(path, reason) for _, path, reason in downs} == {
            ("root/nobody", "noproc"),
            ("root/inner/b", "signal:SIGKILL"),
            ("root/inner", "signal:SIGKILL"),
        }
        assert len({ref for ref, _, _ in downs}) == 3


def test_a_monitor_of_a_leaf_is_answered_when_its_branch_dies() -> None:
    with tree_of(puppet("a"), branch("inner", SupervisorSpec((puppet("b"),)))) as tree:
        tree.call("root/a", Watch("root/inner/b"))

        tree.kill("root/inner")

        downs = wait_until(lambda: tree.ask("root/a").downs, 5, "down")
        tree.wait_running("root/inner", incarnation=2)
        assert [path for _, path, _ in tree.ask("root/a").downs] == ["root/inner/b"] == [path for _, path, _ in downs]


def test_a_monitor_taken_back_is_silent() -> None:
    with tree_of(puppet("a"), puppet("b")) as tree:
        tree.call("root/a", Watch("root/b", forget=True))
        tree.call("root/a", Watch("root/nobody"))

        tree.kill("root/b")
        tree.wait_running("root/b", incarnation=2)

        assert [path for _, path, _ in tree.ask("root/a").downs] == ["root/nobody"]


def test_a_full_mailbox_counts_casts_refuses_calls_and_lets_a_stop_overtake() -> None:
    with tree_of(puppet("a"), puppet("b", shutdown_s=20.0)) as tree:
        with pytest.raises(CallTimeout):
            tree.call("root/b", Hang(1.0), timeout_s=0.05)
        tree.call("root/a", Flood("root/b", 1000))

        answer = relayed(tree, "root/a", Relay("root/b", 10.0))

        assert "mailbox_full" in answer
        told = tree.ask("root/b")
        assert told.received < 1000
        assert "mailbox.full" in tree.errors()

        with pytest.raises(CallTimeout):
            tree.call("root/b", Hang(0.5), timeout_s=0.05)
        tree.call("root/a", Flood("root/b", 100))
        tree.call("root", TerminateChild("b"), Done)
        assert str(tree.downs("root/b")[0]) == "shutdown"


@pytest.mark.parametrize("kind", KINDS)
def test_an_actor_whose_loop_hangs_falls_silent(kind: Any) -> None:
    with tree_of(puppet("a", kind, heartbeat=Heartbeat(0.1, 3))) as tree:
        with pytest.raises(NoSuchActor, match="heartbeat_lost"):
            tree.call("root/a", Hang(5.0))

        assert tree.wait_running("root/a", incarnation=2)


def test_an_async_actor_that_awaits_is_still_stopped_and_its_failure_is_told() -> None:
    with tree_of(puppet("a", AsyncPuppet), puppet("b", AsyncPuppet)) as tree:
        with pytest.raises(NoSuchActor, match="exception:ValueError"):
            tree.call("root/a", Die("raise"))
        with pytest.raises(CallTimeout):
            tree.call("root/b", Ask("slow"), timeout_s=0.05)

        assert tree.stop() == 0
        assert str(tree.downs("root/b")[-1]) == "shutdown"


def test_sigterm_from_outside_is_a_normal_end() -> None:
    with tree_of(puppet("a")) as tree:
        tree.kill("root/a", signal.SIGTERM)

        tree.wait_running("root/a", incarnation=2)
        assert tree.downs("root/a")[0].is_normal


ALONE = """
import sys
from support.actors import Puppet, PuppetArguments, Relay
from regrow.runtime.actor import run_alone

class Lone(Puppet):
    def on_start(self):
        super().on_start()
        print(self.relay(Relay("root/other", 5.0)), flush=True)
        self.context.monitor("root/other")
    def on_down(self, down):
        print(down.path, down.reason, flush=True)
    def on_end(self):
        print("end", flush=True)

sys.exit(run_alone(Lone, PuppetArguments(start=sys.argv[1]), "lone"))
"""


def test_an_actor_runs_alone_finds_nobody_and_stops_on_a_signal() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", ALONE, "ok"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as lone:
        assert lone.stdout is not None
        assert lone.stdout.readline().startswith("no_such_actor")
        assert lone.stdout.readline() == "root/other noproc\n"

        lone.send_signal(signal.SIGTERM)

        assert lone.stdout.read() == "end\n"
    assert lone.returncode == 0


def test_an_actor_alone_that_cannot_start_says_why() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    ended = subprocess.run(
        [sys.executable, "-c", ALONE, "config"], env=environment, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert ended.stderr.rstrip().endswith("no such string: tie one on")
