"""Faults to single processes: that each hits, what it does, and that its undo puts all back.  The processes are small and real."""

import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from regrow.chaos.experiment import Step, Target
from regrow.chaos.fault import Role
from regrow.chaos.faults import FAULTS, parse
from regrow.chaos.nemesis import Nemesis
from regrow.chaos.scene import Scene
from regrow.runtime.errors import ConfigError
from regrow.runtime.spec import ChildState
from regrow.runtime.tree import TreeNode
from support.own_tree import hit, step
from support.processes import is_stopped
from support.waiting import wait_until

WITHIN_S = 10.0
ANY = Target(Role.ROOT)
OPENER = """
import os, sys
for line in sys.stdin:
    try:
        os.close(os.open("/dev/null", os.O_RDONLY))
        print("opened", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


@contextmanager
def victim(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A process with a group of its own."""
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def scene_of(process: "subprocess.Popen[str]") -> Scene:
    """A tree that is nothing but this."""
    node = TreeNode("root", "root", Role.ROOT, process.pid, ChildState.RUNNING, 1, 0)
    return Scene("http://127.0.0.1:1", lambda: node, list)


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("fault", "number"), [("kill", signal.SIGKILL), ("term", signal.SIGTERM), ("int", signal.SIGINT)]
)
def test_a_signal_reaches_its_victim(fault: str, number: int) -> None:
    with victim("sleep", "60") as process, Nemesis(scene_of(process)) as nemesis:
        strike = hit(nemesis, step(fault, ANY))

        assert process.wait(WITHIN_S) == -number
        assert strike.victim is not None
        assert strike.victim.pid == process.pid
        assert nemesis.outstanding == 0


def test_kill_group_takes_what_its_victim_has_started_too() -> None:
    with victim("sh", "-c", "sleep 60 & echo $!; wait") as process, Nemesis(scene_of(process)) as nemesis:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))

        hit(nemesis, step("kill.group", ANY))

        assert process.wait(WITHIN_S) == -signal.SIGKILL
        wait_until(lambda: has_ended(child), WITHIN_S, "its child has ended")


def test_who_leads_no_group_is_not_hit_with_that_of_another() -> None:
    with subprocess.Popen(["sleep", "60"], text=True) as process:
        with Nemesis(scene_of(process)) as nemesis:
            (strike,) = nemesis.strike(step("kill.group", ANY))

        assert strike.applied_at is None
        assert "leads no process group" in strike.detail
        assert process.poll() is None
        process.kill()


def test_a_stutter_stops_and_continues_and_leaves_its_victim_running() -> None:
    with victim("sleep", "60") as process, Nemesis(scene_of(process)) as nemesis:
        hit(nemesis, step("stutter", ANY, stop_s=0.02, run_s=0.02))
        for _ in range(3):
            wait_until(lambda: is_stopped(process.pid), WITHIN_S, "it is stopped", every=0.001)
            wait_until(lambda: not is_stopped(process.pid), WITHIN_S, "it goes on", every=0.001)

        assert nemesis.heal() == []
        assert not is_stopped(process.pid)
        assert select.select([], [], [], 0.1) == ([], [], [])  # several turns of what is over
        assert not is_stopped(process.pid)


def test_a_stutter_ends_with_its_victim() -> None:
    with victim("sleep", "60") as process, Nemesis(scene_of(process)) as nemesis:
        hit(nemesis, step("stutter", ANY, stop_s=0.01, run_s=0.01))
        process.kill()
        process.wait()

        assert nemesis.heal() == []
        assert nemesis.outstanding == 0


def test_who_has_no_descriptors_left_can_open_nothing_until_that_is_undone() -> None:
    with victim(sys.executable, "-c", OPENER) as process, Nemesis(scene_of(process)) as nemesis:

        def tries() -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        assert tries() == "opened"
        before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)

        hit(nemesis, step("fd.exhaust", ANY))
        assert tries() == "24"  # EMFILE
        nemesis.heal()
        assert tries() == "opened"
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == before

        hit(nemesis, step("fd.exhaust", ANY, spare=1))
        assert tries() == "opened"


def test_a_cpu_hog_spins_in_as_many_processes_as_it_says_and_goes_with_all_of_them() -> None:
    with victim("sleep", "60") as process, Nemesis(scene_of(process)) as nemesis:
        strike = hit(nemesis, step("cpu.hog", processes=2, nice=19, core=min(psutil.Process().cpu_affinity() or [0])))
        hog = psutil.Process(int(strike.detail.split()[1]))
        wait_until(lambda: len(hog.children()) == 1, WITHIN_S, "it has its second process")
        both = [hog, *hog.children()]
        wait_until(lambda: all(one.cpu_times().user > 0.05 for one in both), WITHIN_S, "both spin")
        assert {one.nice() for one in both} == {19}
        assert {len(one.cpu_affinity() or []) for one in both} == {1}

        nemesis.heal()
        wait_until(lambda: all(map(has_ended, both)), WITHIN_S, "both are gone")


def test_a_memory_hog_holds_what_it_says_and_gives_it_back() -> None:
    size_bytes = 64 * 1024 * 1024
    with victim("sleep", "60") as process, Nemesis(scene_of(process)) as nemesis:
        strike = hit(nemesis, step("mem.hog", size_bytes=size_bytes))
        hog = psutil.Process(int(strike.detail.split()[1]))

        assert hog.memory_info().rss >= size_bytes
        nemesis.heal()
        assert not hog.is_running()


def test_a_memory_hog_never_takes_the_whole_machine() -> None:
    with victim("sleep", "60") as process, Nemesis(scene_of(process)) as nemesis:
        (strike,) = nemesis.strike(step("mem.hog", size_bytes=2**50))

        assert strike.applied_at is None
        assert "on this machine; use less than" in strike.detail
        assert nemesis.outstanding == 0


def test_a_fault_ends_after_its_time() -> None:
    with victim("sleep", "60") as process, Nemesis(scene_of(process)) as nemesis:
        before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        hit(nemesis, step("fd.exhaust", ANY, for_s=0.2))
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) != before

        wait_until(lambda: nemesis.outstanding == 0, WITHIN_S, "it is over")
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == before


def test_poison_goes_by_the_workload() -> None:
    submitted: list[tuple[str, int]] = []
    with victim("sleep", "60") as process:
        without = scene_of(process)
        scene = Scene(
            without.gateway,
            without.read_tree,
            without.read_workers,
            submit=lambda kind, count: submitted.append((kind, count)),
        )
        with Nemesis(scene) as nemesis:
            hit(nemesis, step("task.poison", count=3))
        with Nemesis(without) as nemesis, pytest.raises(ConfigError, match="there is no workload"):
            nemesis.strike(step("task.poison"))

    assert submitted == [("poison", 3)]


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (step("kill"), "it needs a target"),
        (step("net.cut", link="client-gateway"), "there is no proxy on the link client-gateway"),
        (step("clock.offset", offset_s=60), "was not started for this"),
        (step("store.kill"), "the tree does not run its store itself"),
    ],
)
def test_what_the_scene_does_not_have_is_refused_before_anything_is_done(one: Step, why: str) -> None:
    with victim("sleep", "60") as process, Nemesis(scene_of(process)) as nemesis:
        with pytest.raises(ConfigError, match=f"^{one.fault}: .*{why}"):
            nemesis.strike(one)

        assert nemesis.strikes == ()


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("kil", {}, "there is no fault 'kil'; use one of clock.offset, cpu.hog"),
        ("kill", {"hard": True}, "kill: object contains unknown field `hard` .options: none."),
        ("net.delay", {"delay_s": 0.1}, "net.delay: it needs 'link'"),
        ("net.delay", {"link": "client-gateway", "delay_s": -1}, "net.delay: delay_s: a number from 0 "),
        ("net.delay", {"link": "client-gateway", "delay_s": 0.1, "jitter_s": 0.2}, "no more jitter than delay"),
        ("net.cut", {"link": "moon"}, "net.cut: link: one of client-gateway, gateway-store.* is wanted here"),
        (
            "net.one_way",
            {"link": "client-gateway", "way": "both"},
            "net.one_way: way: one of back, out is wanted here",
        ),
        (
            "net.bandwidth",
            {"link": "client-gateway", "rate_bytes": 0},
            "net.bandwidth: rate_bytes: a whole number from 1 is wanted here",
        ),
        ("frame.drop", {"chance": 1.5}, "frame.drop: chance: a number above 0 to 1 is wanted here"),
        ("frame.drop", {"chance": float("nan")}, "frame.drop: chance: a number above 0"),
        ("frame.drop", {"link": "client-gateway"}, "only, not on client-gateway: leave out the link"),
        ("clock.offset", {"offset_s": 0}, "changes nothing"),
        ("cpu.hog", {"core": 100_000}, "there is no core 100000; use one of 0"),
        ("start.slow", {"role": "cook"}, "start.slow: role: one of .*dispatcher, worker"),
        ("store.pause", {"longest_s": 3600}, "store.pause: longest_s: a number above 0 to 60 is wanted here"),
    ],
)
def test_a_mistake_in_the_options_is_told_with_its_key_and_the_fix(
    name: str, options: dict[str, object], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        parse(name, options)


def test_every_fault_has_a_file_of_its_own_that_says_what_it_does() -> None:
    folder = Path(sys.modules[parse.__module__].__file__ or "").parent
    for name, kind in FAULTS.items():
        file = folder / f"{kind.__module__.rpartition('.')[2]}.py"
        assert f"``{name}``" in file.read_text().splitlines()[0], file
        assert kind.__doc__
    assert len({kind.__module__ for kind in FAULTS.values()}) == len(FAULTS)


def test_time_is_told_in_one_clock() -> None:
    with victim("sleep", "60") as process, Nemesis(scene_of(process)) as nemesis:
        before = time.monotonic()
        (strike,) = nemesis.strike(step("stop", ANY), planned_at=before - 1.0)
        nemesis.heal()
        after = time.monotonic()
        (undone,) = nemesis.strikes

        assert strike.planned_at == before - 1.0
        assert strike.undone_at is None
        assert undone.applied_at is not None
        assert undone.undone_at is not None
        assert before <= undone.applied_at <= undone.undone_at <= after
