"""``regrow doctor`` on real things: a tree that runs, one that was killed, and stores that endanger the promises."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from regrow.actors import doctor_facts, keys
from support.cluster import Cluster, running
from support.tasks import register, submit
from support.valkey import DURABLE, valkey_server


def doctor(*words: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Its exit code, and per check the level and what it says, with the fix."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("REGROW_")}
    command = [sys.executable, "-m", "regrow.runtime.cli", "doctor", *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=clean)
    assert ended.stderr == ""
    found: dict[str, tuple[str, str]] = {}
    check = ""
    for line in ended.stdout.splitlines():
        if match := re.match(r"(ok|warning|problem)\s{2,}(\S.*?)\s{2,}(.*)", line):
            level, check, says = match.groups()
            found[check] = level, says.strip()
        elif line.startswith("  "):
            found[check] = found[check][0], f"{found[check][1]} {line.strip()}"
    return ended.returncode, found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("doctor"), "--workers", "1", "--slots", "1") as it:
        yield it


def test_a_tree_that_runs_well_is_found_with_its_store_and_workers(cluster: Cluster) -> None:
    code, found = doctor("--data-dir", str(cluster.data_dir))

    assert code == 0, found
    assert found["tree"][0] == "ok"
    assert f"process {cluster.process.pid} runs at" in found["tree"][1]
    assert "1 workers" in found["tree"][1]
    assert found["durability"] == ("ok", "appendonly yes, appendfsync always: what was acknowledged is on disk")
    assert found["eviction"][0] == found["store's file"][0] == found["workers' versions"][0] == "ok"
    assert re.search(r"a flush takes \d+\.\d ms", found["data directory"][1])


def test_a_tree_that_was_killed_is_told_from_one_that_runs(tmp_path: Path) -> None:
    killed = Cluster(tmp_path / "data", "--workers", "1", "--slots", "1").wait_ready()
    killed.kill()

    code, found = doctor("--data-dir", str(killed.data_dir))
    shutil.rmtree((killed.data_dir / "run").read_text())

    assert code == 0, "its tasks are safe"
    assert found["tree"][0] == "warning"
    assert "fix: regrow up" in found["tree"][1]
    assert "none runs here" in found["store"][1]


@pytest.mark.parametrize(
    ("settings", "check", "level", "code"),
    [
        ({"appendonly": "no"}, "durability", "problem", 1),
        ({"appendonly": "yes", "appendfsync": "everysec"}, "durability", "warning", 0),
        ({**DURABLE, "maxmemory_policy": "allkeys-lru"}, "eviction", "problem", 1),
        (DURABLE, "durability", "ok", 0),
    ],
    ids=["no file", "everysec", "evicts", "durable"],
)
def test_a_store_of_the_users_own_is_looked_at(
    tmp_path: Path, settings: dict[str, str], check: str, level: str, code: int
) -> None:
    with valkey_server(tmp_path, **settings) as server:
        ended, found = doctor("--data-dir", str(tmp_path / "data"), "--redis-url", server.url)

    assert (ended, found[check][0]) == (code, level), found
    assert ("fix:" in found[check][1]) is (level != "ok")


def test_tasks_that_nobody_has_are_a_problem_until_a_search_has_given_them_up(tmp_path: Path) -> None:
    with valkey_server(tmp_path, **DURABLE) as server, server.client() as client:
        submit(server.url, register(server.url), b"1", b"2")
        where = ("--data-dir", str(tmp_path / "data"), "--redis-url", server.url)
        assert doctor(*where)[1]["open tasks"] == ("ok", "each is queued, or under a lease")
        client.delete(keys.QUEUE)

        code, found = doctor(*where)
        assert (code, found["open tasks"][0]) == (1, "problem")
        assert "2 are in no queue" in found["open tasks"][1]

        client.hset("{regrow}:search", "missing", 2)
        code, found = doctor(*where)
        assert (code, found["open tasks"][0]) == (0, "warning")
        assert "the records of 2 have gone" in found["open tasks"][1]


def test_a_store_that_is_not_there_is_a_problem_without_its_password(tmp_path: Path) -> None:
    code, found = doctor("--data-dir", str(tmp_path), "--redis-url", "redis://user:secret@127.0.0.1:1/0")

    assert (code, found["store"][0]) == (1, "problem")
    assert "secret" not in str(found)


def test_a_directory_that_cannot_be_one_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    code, found = doctor("--data-dir", str(tmp_path / "file" / "data"))

    assert (code, found["data directory"][0]) == (1, "problem")
    assert "not a directory" in found["data directory"][1]


def test_a_file_system_is_known_by_its_type() -> None:
    assert doctor_facts.filesystem_of(Path("/dev/shm")) == "tmpfs"
    assert doctor_facts.filesystem_of(Path("/proc")) == "proc"


def test_looking_leaves_nothing_behind(tmp_path: Path) -> None:
    doctor("--data-dir", str(tmp_path))

    assert list(tmp_path.iterdir()) == []
