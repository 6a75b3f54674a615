"""What the system says of processes: their use, and whether the kernel has killed for want of memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from regrow.actors import meter
from regrow.actors.oom import MACHINE, count_file, count_in
from support.waiting import wait_until

PROGRAM = """
import subprocess, sys, threading
held = bytearray(b"x") * int(sys.argv[1])
child = subprocess.Popen(["sleep", "100"])
dead = subprocess.Popen(["true"])
threading.Thread(target=lambda: subprocess.run(["sleep", "100"])).start()
while sum(range(1000)) and len(open("/proc/self/stat").read()) and __import__("time").process_time() < 0.3: pass
print("ready", flush=True)
input()
"""


def test_it_counts_a_process_and_all_below_it_also_those_that_threads_have_started() -> None:
    command = [sys.executable, "-S", "-c", PROGRAM, str(50_000_000)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        usage = wait_until(lambda: found if (found := meter.usage(process.pid)).processes == 2 else None, 5, "two live")

        for pid in [*meter.descendants(process.pid), process.pid]:
            os.kill(pid, 9)
    assert 0.25 < usage.own_cpu_s <= usage.cpu_s < 5.0
    assert 50_000_000 < usage.own_memory_bytes <= usage.memory_bytes < 100_000_000


def test_who_is_gone_uses_nothing() -> None:
    process = subprocess.Popen(["true"])
    process.wait()

    assert meter.usage(process.pid) == meter.Usage()


@pytest.mark.parametrize(
    ("cgroup", "mount", "file"),
    [
        ("0::/a/b\n", "30 1 0:1 / {} rw - cgroup2 cgroup2 rw", "a/b/memory.events"),
        ("0::/\n4:cpu,memory:/a\n", "30 1 0:1 / {} rw - cgroup cgroup rw,cpu,memory", "a/memory.oom_control"),
        ("4:memory:/docker/x\n", "30 1 0:1 /docker/x {} rw shared:9 - cgroup cgroup rw,memory", "memory.oom_control"),
        ("0::/not/here\n", "30 1 0:1 / {} rw - cgroup2 cgroup2 rw", "memory.events"),
        ("4:memory:/a\n", "30 1 0:1 / {} rw - cgroup cgroup rw,cpu", None),
    ],
)
def test_the_count_of_kills_is_found_where_this_kind_of_cgroup_has_it(
    tmp_path: Path, cgroup: str, mount: str, file: str | None
) -> None:
    if file is not None:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()

    found = count_file(cgroup, mount.format(tmp_path) + "\n")

    assert found == (Path(MACHINE) if file is None else tmp_path / file)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\noom_group_kill 0\n", 2),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", 7),
        (Path(MACHINE).read_text(), None),
        ("", 0),
    ],
)
def test_the_count_is_read_from_all_of_them(text: str, count: int | None) -> None:
    assert count_in(text) == count if count is not None else count_in(text) >= 0
