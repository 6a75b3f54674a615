"""What happens anywhere in a tree reaches whoever follows its root, also one who is being restarted meanwhile."""

import signal
from pathlib import Path

from regrow.runtime import branch, child
from regrow.runtime.spec import Heartbeat, Intensity, SupervisorSpec
from support.actors import Puppet, PuppetArguments
from support.follower import Follower, FollowerArguments, Liar
from support.trees import RunningTree
from support.waiting import wait_until

OFTEN = Intensity(1000, 5.0)


def spec(file: Path, **fields: object) -> SupervisorSpec:
    deep = branch("deep", SupervisorSpec((child("leaf", Puppet, PuppetArguments(), **fields),), intensity=OFTEN))
    follower = child("follower", Follower, FollowerArguments(str(file)))
    return SupervisorSpec((branch("mid", SupervisorSpec((deep,), intensity=OFTEN)), follower), intensity=OFTEN)


def told(file: Path) -> list[tuple[str, ...]]:
    """Event, path and incarnation of each line; the numbers are looked at here."""
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    assert [int(line[0]) for line in lines] == list(range(1, len(lines) + 1)), "each happening once, in order"
    return [tuple(line[1:4]) for line in lines]


def test_a_follower_is_told_from_the_first_start_on_and_of_every_branch(tmp_path: Path) -> None:
    file = tmp_path / "told"
    with RunningTree(spec(file)) as tree:
        pid = tree.kill("root/mid/deep/leaf")

        wait_until(lambda: ("child.up", "root/mid/deep/leaf", "2") in told(file), 10, "its new life is told")
        lines = file.read_text()

    assert told(file)[:4] == [
        ("child.up", "root/mid/deep/leaf", "1"),
        ("child.up", "root/mid/deep", "1"),
        ("child.up", "root/mid", "1"),
        ("child.up", "root/follower", "1"),
    ]
    assert f"child.down root/mid/deep/leaf 1 {pid} signal:SIGKILL\n" in lines


def test_a_follower_that_is_killed_misses_nothing_and_hears_nothing_twice(tmp_path: Path) -> None:
    file = tmp_path / "told"
    with RunningTree(spec(file)) as tree:
        for life in (1, 2, 3):
            up = {("child.up", path, str(life)) for path in ("root/follower", "root/mid/deep/leaf")}
            wait_until(lambda up=up: up <= set(told(file)), 10, "it has been told all")  # type: ignore[misc]
            tree.kill("root/follower")
            wait_until(lambda life=life: len(tree.downs("root/follower")) == life, 10, "the root knows of its end")  # type: ignore[misc]
            tree.kill("root/mid/deep/leaf")
            tree.wait_running("root/mid/deep/leaf", life + 1)
            tree.wait_running("root/follower", life + 1)

        def ends() -> list[tuple[str, ...]]:
            return [what for what in told(file) if what[0] == "child.down"]

        wait_until(lambda: len(ends()) >= 6, 10, "all six ends are told")
        dropped = "letter.dropped" in tree.errors()

    assert sorted(ends()) == sorted(
        ("child.down", path, str(life)) for path in ("root/follower", "root/mid/deep/leaf") for life in (1, 2, 3)
    )
    assert not dropped, "nothing is sent to the dead"


def test_a_silent_child_is_told_as_overdue_killed_and_down(tmp_path: Path) -> None:
    file = tmp_path / "told"
    with RunningTree(spec(file, heartbeat=Heartbeat(0.2, 3))) as tree:
        tree.kill("root/mid/deep/leaf", signal.SIGSTOP)
        wait_until(lambda: ("child.up", "root/mid/deep/leaf", "2") in told(file), 10, "it is replaced")

    leaf = [what[0] for what in told(file) if what[1] == "root/mid/deep/leaf"]
    assert leaf == ["child.up", "child.overdue", "child.killed", "child.down", "child.up"]


def test_a_child_cannot_tell_of_others_than_those_below_it(tmp_path: Path) -> None:
    file = tmp_path / "told"
    liar = child("liar", Liar)
    with RunningTree(SupervisorSpec((liar, *spec(file).children), intensity=OFTEN)) as tree:
        wait_until(lambda: "it tells of others" in tree.errors(), 10, "the lie is dropped and counted")
        wait_until(lambda: ("child.up", "root/follower", "1") in told(file), 10, "the tree is up")

    assert "root/mid/invented" not in file.read_text()
    assert "root/liar/slot" in file.read_text(), "of those below it may"
