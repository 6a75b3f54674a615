"""``regrow chaos run --url``: a running tree that allows it; and own trees, which have nothing of what is set for others."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regrow.chaos.dossier import Dossier
from regrow.chaos.evidence import Verdict
from regrow.chaos.experiment import Configuration
from regrow.chaos.fault import Role
from regrow.chaos.history import TaskMove
from regrow.chaos.permission import local, permission
from regrow.chaos.proxy import Proxy
from regrow.chaos.schedule import plan
from regrow.chaos.stage import own
from regrow.chaos.suites import load
from regrow.chaos.tree import TreeGone, only
from regrow.runtime.errors import ConfigError
from regrow.runtime.spec import ChildState
from regrow.runtime.tree import TreeNode
from support.chaos import ChaosRun, run
from support.cluster import Cluster, running
from support.command import complaint, regrow
from support.runs import findings
from support.waiting import wait_until

SMALL = """
version: 1
title: A tree of somebody else
workload: {rate: 10, duration: 4s, mix: {noop: 0.7, sleep1s: 0.3}}
method:
  - {fault: kill, target: {role: worker, while: running_task}, at: 1s}
  - {fault: stop, target: {role: slot, name: nobody}, at: 1.5s, for: 1s}
  - {fault: stop, target: {role: dispatcher}, at: 2.5s, for: 500ms}
settle: 60s
"""
NEEDS_PROXIES = """
version: 1
title: There is no proxy
workload: {rate: 10, duration: 2s}
method:
  - {fault: net.cut, link: dispatcher-store, at: 1s, for: 1s}
"""

LONG = """
version: 1
title: It ends before its time
workload: {rate: 10, duration: 60s}
method:
  - {fault: kill, target: {role: worker}, at: 1s, every: 700ms, count: 80, background: true}
settle: 2s
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("attach"), "--workers", "2", "--slots", "2", "--allow-chaos") as it:
        yield it


def test_a_tree_that_allows_it_is_hit_told_of_it_and_left_whole(tmp_path: Path, cluster: Cluster) -> None:
    before = cluster.shape()

    ended = run(tmp_path, SMALL, "--no-baseline", "--url", cluster.url)

    assert ended.code() == 0, ended.text
    assert "a tree comes up" not in ended.text
    assert "the tree is stopped" not in ended.text
    assert cluster.shape() == before
    evidence = ended.dossier.evidence()
    strikes = sorted(evidence.strikes, key=lambda strike: strike.step)
    assert [strike.applied_at is not None for strike in strikes] == [True, False, True]
    killed = strikes[0].victim
    assert killed is not None
    faults = [(event["fault"], event["target"], event["phase"]) for event in faults_told(cluster, 4)]
    assert sorted(faults) == [
        ("kill", killed.path, "injected"),
        ("stop", "nobody", "missed"),
        ("stop", "root/dispatcher", "injected"),
        ("stop", "root/dispatcher", "undone"),
    ]
    lost = [move for move in evidence.moves if isinstance(move, TaskMove) and move.move == "lose_worker"]
    story = cluster.get(f"/v1/tasks/{lost[0].task_id}/story").json()
    assert f"kill of {killed.path}, was injected" in json.dumps(story)


def test_faults_that_a_running_tree_cannot_have_are_refused(tmp_path: Path, cluster: Cluster) -> None:
    ended = run(tmp_path, NEEDS_PROXIES, "--no-baseline", "--url", cluster.url)

    assert ended.code() == 3
    assert "there is no proxy on the link dispatcher-store" in ended.text
    assert "without --url" in ended.text
    assert not ended.dossier.path.exists()


def test_nothing_is_left_of_a_shrinking_that_the_tree_cannot_have(tmp_path: Path, cluster: Cluster) -> None:
    (file := tmp_path / "experiment.yaml").write_text(NEEDS_PROXIES)
    experiment = load(str(file))
    whole = Dossier.new(tmp_path / "run", experiment, plan(experiment))
    whole.keep_findings(findings(Verdict.INVALID))

    refused = regrow("chaos", "shrink", str(whole.path), "--url", cluster.url)

    assert "there is no proxy on the link dispatcher-store" in complaint(refused, 3)
    assert not (whole.path / "shrinking").exists()


def test_a_tree_behind_a_tunnel_may_be_of_another_machine_and_is_refused(tmp_path: Path, cluster: Cluster) -> None:
    with Proxy(cluster.url.replace("http://", "tcp://")) as tunnel:
        ended = run(tmp_path, SMALL, "--no-baseline", "--url", tunnel.address.replace("tcp://", "http://"))

    assert ended.code() == 3
    assert "is not of this machine" in ended.text


def test_an_own_tree_allows_chaos_and_has_nothing_of_the_users_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGROW_REDIS_URL", "redis://127.0.0.1:1/0")  # a real store, for all that is known
    monkeypatch.setenv("REGROW_DRAIN_S", "1234")

    with own(Configuration(workers=1, slots=1), tmp_path / "log") as stage:
        store = stage.scene.store()
        assert store is not None
        assert "127.0.0.1:1/" not in str(store.facts["url"])
        assert permission(stage.scene.gateway).allowed
        assert stage.end() == ()


def faults_told(cluster: Cluster, count: int) -> list[dict[str, Any]]:
    """The first so many that the tree has in its record; the stream is read until they have come."""
    found: list[dict[str, Any]] = []
    with cluster.get("/v1/events", params={"after": "0"}, stream=True) as answer:
        for line in answer.iter_lines():
            name, _, value = line.decode().partition(": ")
            if name == "data" and (event := json.loads(value)).get("kind") == "fault":
                found.append(event)
                if len(found) == count:
                    break
    return found


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "foo", "https://127.0.0.1:8000", "http://127.0.0.1:99999", "http://[::1"]
)
def test_what_is_no_url_of_a_gateway_is_said_so(url: str) -> None:
    with pytest.raises(ConfigError, match=r"is no gateway of this machine: say its URL, as http://127\.0\.0\.1:8000"):
        local(url)


def test_a_tree_that_ends_meanwhile_ends_the_run(tmp_path: Path) -> None:
    with (
        running(tmp_path / "tree", "--workers", "2", "--slots", "1", "--allow-chaos") as tree,
        ChaosRun(tmp_path, LONG, "--no-baseline", "--url", tree.url) as begun,
    ):
        wait_until(lambda: "kill root" in begun.text, 60, "a worker was killed")
        url = tree.url
        tree.process.terminate()
        tree.process.wait()

        assert begun.code() == 3
    assert f"the tree at {url} has ended" in begun.text


def test_a_tree_that_takes_the_place_of_one_that_allowed_it_is_not_touched() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        node = TreeNode("root", "root", Role.ROOT, process.pid, ChildState.RUNNING, 1, 0)
        read = only(lambda: node, "http://127.0.0.1:8000", process.pid)
        assert read() is node
        process.kill()

    with pytest.raises(TreeGone, match="has ended: its root"):
        read()  # though somebody would answer


def test_what_the_environment_names_is_not_broken_for_that(cluster: Cluster) -> None:
    ended = regrow("chaos", "run", "smoke", "--help", REGROW_URL=cluster.url)

    assert "--url" in ended.stdout
    assert "REGROW_URL" not in ended.stdout
