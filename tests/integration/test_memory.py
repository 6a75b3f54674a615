"""What is read of memory: of real processes, and of files as the kernel writes them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from regrow.actors.memory import (
    CgroupFiles,
    Surroundings,
    TreeMemory,
    ancestor,
    cgroups_of,
    machine,
    surroundings,
)
from regrow.actors.meter import usage
from regrow.actors.pressure import MIB

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(child.stdout.readline().decode().strip(), flush=True)
sys.stdin.read()
child.kill()
"""
CHILD = """
taken = b"x" * (64 * 2**20)
print("taken", flush=True)
import sys
sys.stdin.read()
"""


@contextmanager
def family() -> Iterator[int]:
    """A process whose child has taken 64 MiB; its pid."""
    words = [sys.executable, "-c", PARENT, CHILD]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdin
        assert parent.stdout.readline() == b"taken\n"
        yield parent.pid
        parent.stdin.close()


def test_a_tree_has_what_all_its_processes_have_and_not_what_they_share() -> None:
    with family() as pid:
        assert 64 * MIB < usage(pid).memory_bytes < 100 * MIB
        reading = TreeMemory("it", pid, 512 * MIB).read()
        assert (reading.budget_bytes, reading.used_bytes > 64 * MIB) == (512 * MIB, True)
    assert usage(pid).memory_bytes == 0, "who has ended has nothing"


def test_an_ancestor_is_found_by_generations() -> None:
    assert [ancestor(0), ancestor(1)] == [os.getpid(), os.getppid()]


def test_the_machine_says_what_is_not_available() -> None:
    reading = machine("MemTotal:       1000 kB\nMemFree:  5 kB\nMemAvailable:    300 kB\nHugePages_Total:       0\n")

    assert reading == (700 * 1024, 1000 * 1024)


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """What a kernel shows: v1 below ``memory``, v2 beside it."""
    for folder, files in {
        "outer/inner": {"memory.max": "max", "memory.current": "70", "memory.stat": "anon 1\ninactive_file 10\n"},
        "outer": {"memory.max": "100", "memory.current": "90", "memory.stat": "inactive_file 15\n"},
        "memory/box": {
            "memory.limit_in_bytes": "200",
            "memory.usage_in_bytes": "150",
            "memory.stat": "inactive_file 1\ntotal_inactive_file 30\n",
        },
        "memory": {"memory.limit_in_bytes": "9223372036854771712"},
    }.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (tmp_path / folder / name).write_text(f"{text}\n")
    return tmp_path


def test_the_cgroups_of_both_versions_are_found_from_the_inside_out(mount: Path) -> None:
    two = list(cgroups_of("0::/outer/inner\n", mount))
    assert [group.folder for group in two] == [mount / "outer/inner", mount / "outer", mount]
    assert two[1].read() == (75, 100)

    one = list(cgroups_of("5:cpu:/\n4:memory:/box\n0::/not/there\n", mount))
    assert [group.folder for group in one] == [mount / "memory/box", mount / "memory", mount]
    assert one[0].read() == (120, 200)


def test_of_all_limits_the_one_that_leaves_least_counts_and_one_that_has_gone_does_not(mount: Path) -> None:
    surrounded = Surroundings(
        [CgroupFiles(mount / "outer", is_v2=True), CgroupFiles(mount / "memory/box", is_v2=False)]
    )
    assert surrounded.read() == (75, 100)
    assert str(mount / "outer") in surrounded.name

    (mount / "outer/memory.max").write_text("max\n")
    assert surrounded.read() == (120, 200)


def test_the_surroundings_of_this_very_process_can_be_read() -> None:
    reading = surroundings().read()

    assert reading.used_bytes > 0
    assert reading.left_bytes < reading.budget_bytes
