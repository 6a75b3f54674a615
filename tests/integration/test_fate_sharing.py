"""Whoever is killed, nobody is left over, and what should come back comes back."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from regrow.runtime import branch, child
from regrow.runtime.process import die_with_parent
from regrow.runtime.spec import Backoff, Intensity, Restart, SupervisorSpec
from support.actors import Puppet, PuppetArguments
from support.processes import is_alive
from support.trees import RunningTree
from support.waiting import wait_until

LEAF = child("leaf", Puppet, PuppetArguments())
LEFT_S = 2.0  # promised: whoever is killed, what it leaves lives no longer, as long as the root lives
OFTEN = {"intensity": Intensity(100, 5.0), "backoff": Backoff(reset_after_s=0.0)}


def deep() -> RunningTree:
    inner = SupervisorSpec((branch("inner", SupervisorSpec((LEAF,), **OFTEN)),), **OFTEN)
    return RunningTree(SupervisorSpec((branch("outer", inner), LEAF), **OFTEN))


def below(pid: int) -> list[int]:
    return [process.pid for process in psutil.Process(pid).children(recursive=True)]


def titled_below(pid: int) -> list[int]:
    """Those that have got as far as to take their title; fate is shared from before that."""
    return [child for child in below(pid) if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"regrow: ")]


@pytest.mark.parametrize("path", ["root/leaf", "root/outer", "root/outer/inner", "root/outer/inner/leaf"])
def test_a_killed_actor_takes_its_branch_along_and_comes_back(path: str) -> None:
    with deep() as tree:
        doomed = [tree.pid(path), *below(tree.pid(path))]

        tree.kill(path)

        wait_until(lambda: not any(map(is_alive, doomed)), 2, "its branch is gone")
        tree.wait_running(path, incarnation=2)
        wait_until(lambda: tree.ask("root/outer/inner/leaf") is not None, 5, "the deepest leaf answers")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_nothing_outlives_a_killed_root(number: int) -> None:
    with deep() as tree:
        doomed = below(tree.process.pid)
        assert len(doomed) == 4

        tree.process.send_signal(number)

        wait_until(lambda: not any(map(is_alive, doomed)), 2, "the whole tree is gone")


def test_nothing_outlives_a_killed_root_even_when_all_were_stopped_or_starting() -> None:
    slow = child("slow", Puppet, PuppetArguments(start="silent"))
    tree = RunningTree(SupervisorSpec((LEAF, slow)))
    try:
        doomed = wait_until(
            lambda: titled if len(titled := titled_below(tree.process.pid)) == 2 else [], 10, "both boot"
        )
        for pid in doomed:
            os.kill(pid, signal.SIGSTOP)

        tree.process.kill()

        wait_until(lambda: not any(map(is_alive, doomed)), 2, "the whole tree is gone")
    finally:
        tree.close()


def test_the_group_of_an_orphan_dies_when_the_root_reaps_it() -> None:
    forker = child("forker", Puppet, PuppetArguments(has_grandchild=True))
    inner = SupervisorSpec((forker,), **OFTEN)
    with RunningTree(SupervisorSpec((branch("inner", inner),), **OFTEN)) as tree:
        grandchild = tree.ask("root/inner/forker").grandchild
        assert grandchild is not None

        tree.kill("root/inner")

        wait_until(lambda: not is_alive(grandchild), 2, "the grandchild is gone")
        zombies = [p for p in psutil.Process(tree.process.pid).children() if p.status() == psutil.STATUS_ZOMBIE]
        assert not zombies


def detached(tree: RunningTree, count: int) -> set[int]:
    """What lives below the root and is none of its actors."""
    known = {node.pid for node in tree.tree().walk()}
    return wait_until(
        lambda: found if len(found := set(below(tree.process.pid)) - known) == count else set(), 5, f"{count} daemons"
    )


def test_what_user_code_detached_ends_with_the_tree() -> None:
    forker = child("forker", Puppet, PuppetArguments(daemons=2), restart=Restart.TEMPORARY)
    with RunningTree(SupervisorSpec((branch("inner", SupervisorSpec((forker,))), LEAF))) as tree:
        daemons = detached(tree, 3)

        assert tree.stop() == 0

        assert not any(map(is_alive, daemons))
        assert "orphan.killed" in tree.errors()


def test_what_the_dead_have_left_ends_while_the_tree_lives() -> None:
    forker = child("forker", Puppet, PuppetArguments(daemons=2, has_grandchild=True), restart=Restart.TEMPORARY)
    with RunningTree(SupervisorSpec((branch("inner", SupervisorSpec((forker,), **OFTEN)), LEAF), **OFTEN)) as tree:
        left = detached(tree, 4)

        tree.kill("root/inner")

        wait_until(lambda: not any(map(is_alive, left)), LEFT_S, "nothing of it is left")
        assert is_alive(tree.pid("root/leaf"))


def test_what_user_code_detached_ends_with_a_tree_that_gives_up() -> None:
    crasher = child("crasher", Puppet, PuppetArguments(daemons=1))
    with RunningTree(SupervisorSpec((crasher,), intensity=Intensity(0, 5.0))) as tree:
        daemons = wait_until(
            lambda: found if len(found := set(below(tree.process.pid)) - {tree.pid("root/crasher")}) == 2 else set(),
            5,
            "daemons",
        )

        tree.kill("root/crasher")

        assert tree.process.wait(10) == 1
        assert not any(map(is_alive, daemons))


def test_a_process_of_the_program_itself_is_left_alone_when_its_tree_ends(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import subprocess\n"
        "from regrow.runtime import SupervisorSpec, TreeEventKind, run_root\n"
        "own = [subprocess.Popen(['sleep', '60'], start_new_session=True)]\n"
        "def on_event(event):\n"
        "    if event.kind is TreeEventKind.STARTED:\n"
        "        own.append(subprocess.Popen(['sleep', '60']))\n"
        "        import os, signal; os.kill(os.getpid(), signal.SIGTERM)\n"
        "assert run_root(SupervisorSpec(), on_event=on_event) == 0\n"
        "print([one.poll() for one in own])\n"
        "for one in own: one.kill(); one.wait()\n"
    )

    ended = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)

    assert ended.stdout == "[None, None]\n", ended.stderr


def test_a_process_whose_parent_is_gone_before_it_could_ask_ends_itself() -> None:
    program = f"from regrow.runtime.process import {die_with_parent.__name__} as die; die(1_000_000); print('alive')"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == b""


def test_a_child_inherits_no_descriptor_and_nothing_to_read() -> None:
    with RunningTree(SupervisorSpec((LEAF,))) as tree:
        pid = tree.pid("root/leaf")
        links = {link.name: str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}

        assert links["0"] == "/dev/null"
        root_links = {str(link.readlink()) for link in Path(f"/proc/{tree.process.pid}/fd").iterdir()}
        shared = {target for number, target in links.items() if int(number) > 2} & root_links
        assert {target for target in shared if not target.startswith("anon_inode")} == {
            target for target in shared if target.startswith("pipe:")
        }
        assert len([target for target in shared if target.startswith("pipe:")]) <= 1  # for the last words
        assert os.getsid(pid) == pid


def test_the_run_directory_goes_with_the_tree() -> None:
    with RunningTree(SupervisorSpec((LEAF,))) as tree:
        assert tree.directory.stat().st_mode & 0o777 == 0o700

        assert tree.stop() == 0

        assert not tree.directory.exists()
