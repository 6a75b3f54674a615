"""The pytest plugin, used as a team would use it: in a run of pytest of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(300)  # whole runs of pytest, with trees in them


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """pytest, in a directory without any configuration."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", directory, *words],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def written(directory: Path, source: str) -> Path:
    directory.joinpath("test_it.py").write_text(source)
    return directory


def test_the_example_in_the_documents_passes_and_its_careless_twin_is_found_out(tmp_path: Path) -> None:
    ended = run(tmp_path, str(ROOT / "examples" / "test_under_faults.py"))

    assert ended.returncode == 0, ended.stdout
    assert "4 passed" in ended.stdout


def test_a_fault_that_finds_nobody_fails_the_test(tmp_path: Path) -> None:
    source = """
import regrow.chaos.testbed
def test_it(regrow_tree, monkeypatch):
    monkeypatch.setattr(regrow.chaos.testbed, "HIT_WITHIN_S", 0.0)
    regrow_tree.kill("worker", name="nobody")
"""

    ended = run(written(tmp_path, source))

    assert ended.returncode == 1
    assert (
        "FaultMissed: kill: no running worker called nobody in the tree (of this role: worker-0, worker-1)"
        in ended.stdout
    )


def test_what_outlives_its_tree_fails_the_test_and_is_killed(tmp_path: Path) -> None:
    source = """
import subprocess
from pathlib import Path
from regrow.chaos import own_tree
def test_it(regrow_tree):
    stray = subprocess.Popen(["sleep", "1000"])
    Path("stray").write_text(str(stray.pid))
    named = stray.pid, own_tree.start_time(stray.pid)
    seen = own_tree.processes
    own_tree.processes = lambda root: [*seen(root), named]  # as if the tree had started it
"""

    ended = run(written(tmp_path, source))

    assert ended.returncode == 1
    assert "Leak: still alive after their tree had ended, and killed now: " in ended.stdout
    assert "sleep 1000" in ended.stdout
    assert not Path("/proc", (tmp_path / "stray").read_text()).joinpath("exe").exists()


def test_an_option_that_there_is_not_is_told(tmp_path: Path) -> None:
    source = """
import pytest
@pytest.mark.regrow(wokers=2)
def test_it(regrow_tree): ...
"""

    ended = run(written(tmp_path, source))

    assert ended.returncode == 1
    assert "@pytest.mark.regrow: " in ended.stdout
    assert "its options: mode, workers, slots" in ended.stdout


@pytest.mark.parametrize("word", ["--markers", "--fixtures"])
def test_the_plugin_is_there_without_any_set_up(tmp_path: Path, word: str) -> None:
    ended = run(tmp_path, word)

    assert {"--markers": "@pytest.mark.regrow(", "--fixtures": "regrow_shared_tree"}[word] in ended.stdout
