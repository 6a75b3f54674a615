"""Guests: processes outside the tree that ask it something through its run directory."""

import os
import signal
import time
from pathlib import Path

import pytest

from regrow.runtime import Guest, SupervisorSpec, ask_root, branch, child, tree_of
from regrow.runtime.errors import CallTimeout, NoSuchActor
from regrow.runtime.tree import Children, Done, Resize, WhichChildren
from support.actors import Hang, Puppet
from support.trees import RunningTree

SPEC = SupervisorSpec((branch("pool", SupervisorSpec(pool=child("w", Puppet), size=1)),))


def test_a_guest_sees_the_tree_and_changes_it() -> None:
    with RunningTree(SPEC) as tree:
        assert [node.path for node in tree_of(tree.directory).walk()][:2] == ["root", "root/pool"]

        assert ask_root(tree.directory, Resize(2), Done, path="root/pool") == Done()

        listed = ask_root(tree.directory, WhichChildren(), Children, path="root/pool").children
        assert [line.id for line in listed] == ["w-0", "w-1"]


def test_where_no_tree_lives_a_guest_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(NoSuchActor, match="no tree lives in"):
        tree_of(tmp_path)


def test_a_guest_is_told_when_the_tree_ends_before_it_answers() -> None:
    with RunningTree(SPEC) as tree, Guest(tree.directory) as guest:
        os.kill(tree.process.pid, signal.SIGSTOP)
        with pytest.raises(CallTimeout):
            guest.call("root/pool/w-0", Hang(0.0), timeout_s=0.1)
        tree.process.kill()
        killed_at = time.monotonic()

        with pytest.raises(NoSuchActor, match="the tree ended"):
            guest.call("root/pool/w-0", Hang(0.0), timeout_s=10.0)

        assert time.monotonic() - killed_at < 2
