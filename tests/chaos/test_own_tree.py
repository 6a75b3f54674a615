"""The tree of a run: whoever is left of it at the end is named, and killed."""

import os
import signal
from pathlib import Path

import pytest

from regrow.chaos import own_tree
from regrow.chaos.experiment import Configuration
from regrow.chaos.own_tree import OwnTree, private_home
from support.processes import is_alive


def test_a_tree_that_does_not_end_is_evidence_and_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug that keeps a tree from ending must not keep its run from being judged."""
    monkeypatch.setattr(own_tree, "STOP_WITHIN_S", 0.5)
    with private_home() as home:
        tree = OwnTree(Configuration(workers=1, slots=1), home, tmp_path / "log")
        try:
            tree.start()
            tree.wait_ready()
            root = tree.program.pid
            os.kill(root, signal.SIGSTOP)

            left = tree.end()
        finally:
            tree.kill()

    assert any(f"(pid {root}), 0.5 s after the tree was asked to stop" in who for who in left)
    assert not is_alive(root)
