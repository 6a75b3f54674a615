"""Faults to the root, by the commands: nobody starts it again, and the commands claim nothing else."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from regrow.chaos.fate import Fate
from regrow.chaos.nemesis import NotRecovered
from support.cluster import Cluster, running
from support.processes import is_alive

SMALL = ("--workers", "1", "--slots", "1")


@pytest.fixture
def doomed_cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "data", *SMALL).wait_ready()
    try:
        yield cluster
    finally:
        cluster.kill()
        with running(tmp_path / "data", *SMALL):
            pass  # the next tree comes up, and clears away what the killed one left


def chaos(words: str, cluster: Cluster) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "regrow.runtime.cli", "chaos", *words.split(), "--data-dir", str(cluster.data_dir)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_kill_root_waits_until_the_whole_tree_is_gone(doomed_cluster: Cluster) -> None:
    cluster = doomed_cluster
    doomed = [cluster.process.pid, *(one.pid for one in psutil.Process(cluster.process.pid).children(recursive=True))]

    ended = chaos("kill root", cluster)

    assert not any(map(is_alive, doomed))
    assert ended.returncode == 0, ended.stderr
    said = re.fullmatch(
        rf"killed root \(pid {doomed[0]}, incarnation 1\)\n"
        r"all (\d+) processes of the tree were gone after [\d,]+ ms\n"
        r"'regrow up' starts it again: .*\n",
        ended.stdout,
    )
    assert said, ended.stdout
    assert int(said[1]) == len(doomed) >= 8  # the store has a server of its own


def test_freeze_root_says_that_nobody_could_have_replaced_it(tmp_path: Path) -> None:
    with running(tmp_path / "data", *SMALL) as cluster:
        ended = chaos("freeze root --for 0.5", cluster)

        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.splitlines()[1:] == ["let go after 0.5 s; nothing is above the root that could replace it"]
        assert cluster.get("/v1/tree").json()["pid"] == cluster.process.pid


def test_who_does_not_share_the_fate_of_the_root_is_named() -> None:
    with (
        subprocess.Popen([sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '60'])"]) as root,
        Fate(root.pid) as alone,
    ):
        with pytest.raises(NotRecovered, match=f"still alive 0.1 s after the root was killed: {root.pid}"):
            alone.shared_s(0.0, 0.1)
        for child in psutil.Process(root.pid).children():
            child.kill()
        root.kill()
