"""Shell: hogs as faults: a process of our own beside the tree, which is there before it takes anything."""

import os
import signal
import subprocess
import sys

from regrow.chaos.faults.base import Blow, Fault
from regrow.chaos.lineage import start_time
from regrow.chaos.undo import EndHelper, Undo


class Hog(Fault, frozen=True, kw_only=True):
    """The base of those."""

    def words(self) -> tuple[object, ...]:
        """What the program ``regrow.chaos.hog`` is told."""
        raise NotImplementedError

    def prepare(self, blow: Blow) -> tuple[Undo, ...]:
        """Start it; it takes nothing yet.  Whatever ends this process ends its standard input, and so itself."""
        helper = subprocess.Popen(
            [sys.executable, "-P", "-m", "regrow.chaos.hog", *map(str, self.words())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        blow.helpers.append(helper)
        blow.heal.append(lambda: end(helper))
        return (EndHelper(helper.pid, start_time(helper.pid)),)

    def go(self, blow: Blow) -> "subprocess.Popen[bytes]":
        """Have it begin."""
        (helper,) = blow.helpers
        assert helper.stdin is not None
        helper.stdin.write(b".")
        helper.stdin.flush()
        return helper


def end(helper: "subprocess.Popen[bytes]") -> None:
    """Now; with a group of its own it leaves nobody behind."""
    os.killpg(helper.pid, signal.SIGKILL)  # not reaped yet: the number is its own
    helper.wait()
    for pipe in (helper.stdin, helper.stdout):
        if pipe is not None:
            pipe.close()
