"""The data directory's lock, and the file that says where its tree can be reached."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from regrow.runtime import endpoints
from regrow.runtime.endpoints import DataDirLock
from regrow.runtime.errors import ConfigError

HOLD = """
import sys
from pathlib import Path
from regrow.runtime.endpoints import DataDirLock
with DataDirLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
NOTHING = "nothing runs on data directory .*: start it with 'regrow up'"
SAID = {"gateway": "http://127.0.0.1:8000", "dispatcher": "tcp://127.0.0.1:5555", "store": "unix:///run/store.sock"}


@contextmanager
def holder(data_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the lock."""
    words = [sys.executable, "-c", HOLD, str(data_dir)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_lock_that_a_live_process_has_is_refused_with_its_pid(tmp_path: Path) -> None:
    with holder(tmp_path) as other, pytest.raises(ConfigError, match=f"in use by process {other.pid}: stop that one"):
        DataDirLock(tmp_path)


def test_a_lock_file_that_a_killed_process_left_is_taken(tmp_path: Path) -> None:
    with holder(tmp_path) as other:
        other.kill()
        other.wait()
    assert (tmp_path / "lock").read_text() == str(other.pid)

    with DataDirLock(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_lock_ends_with_its_block_and_is_not_inherited(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "print('here', flush=True); input()"]
    with DataDirLock(tmp_path):
        child = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)
        assert child.stdout
        assert child.stdout.readline() == b"here\n", "its program runs: what is closed on exec is closed"
    try:
        with DataDirLock(tmp_path):
            assert child.poll() is None
    finally:
        child.kill()
        child.communicate()


def test_a_new_data_directory_is_private(tmp_path: Path) -> None:
    with DataDirLock(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").stat().st_mode & 0o077 == 0


def test_a_data_directory_that_cannot_be_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=f"data directory {tmp_path}/file: .*; name another with --data-dir"):
        DataDirLock(tmp_path / "file")


def test_what_is_published_is_found_until_it_is_withdrawn(tmp_path: Path) -> None:
    with holder(tmp_path):
        endpoints.publish(tmp_path, SAID)
        assert endpoints.find(tmp_path) == SAID

        endpoints.publish(tmp_path, SAID | {"gateway": "http://127.0.0.1:8001"})
        assert endpoints.find(tmp_path)["gateway"] == "http://127.0.0.1:8001"

        endpoints.withdraw(tmp_path)
        endpoints.withdraw(tmp_path)
        with pytest.raises(ConfigError, match=NOTHING):
            endpoints.find(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]


def test_what_a_killed_tree_has_left_behind_is_not_taken_for_a_running_one(tmp_path: Path) -> None:
    endpoints.publish(tmp_path, SAID)
    with pytest.raises(ConfigError, match=NOTHING):
        endpoints.find(tmp_path)

    with holder(tmp_path) as tree:
        tree.kill()
        tree.wait()
    with pytest.raises(ConfigError, match=NOTHING):
        endpoints.find(tmp_path)
    with DataDirLock(tmp_path):
        assert endpoints.find(tmp_path) == SAID, "who looks keeps no lock"


def test_a_reader_never_sees_a_part_of_the_file(tmp_path: Path) -> None:
    endpoints.publish(tmp_path, SAID)
    with (tmp_path / endpoints.FILE).open() as before:
        endpoints.publish(tmp_path, {"gateway": ""})

        assert before.read().count("://") == len(SAID), "a new file took the old one's place"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"gateway": 1}'])
def test_a_damaged_file_is_named_with_its_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / endpoints.FILE).write_text(content)

    damaged = pytest.raises(ConfigError, match=f"{endpoints.FILE} is damaged .*: delete it and start again")
    with DataDirLock(tmp_path), damaged:
        endpoints.find(tmp_path)


def test_the_default_data_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert endpoints.default_data_dir() == Path("/state/regrow")
