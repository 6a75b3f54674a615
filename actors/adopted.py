"""Shell: what the tasks of dead slots have left, which its worker is given by the kernel: killed and reaped, to the last.

A worker and its slots are subreapers. What a task detaches becomes its slot's child, and is killed by the slot before it
answers; what a slot leaves when it dies becomes its worker's child. So a child of the worker that is no slot is always an
orphan of a dead slot. Its own children become the worker's when it has died, and so on: each end is looked at.
What a killed worker had adopted becomes the root's, if it has one.
A child that nobody else reaps is certainly the one that its number names. Nothing here waits.
"""

import os
from collections.abc import Callable
from contextlib import suppress

from regrow.actors.events import Event
from regrow.runtime.actor import Context
from regrow.runtime.logs import log
from regrow.runtime.process import end_children, kill_orphans, reap


class Adopted:
    """The orphans of a worker. ``slots``: the pids of its own children."""

    def __init__(self, context: Context, slots: Callable[[], frozenset[int]]) -> None:
        self._context = context
        self._slots = slots
        self._dying: dict[int, int] = {}  # pidfds of those that were killed, by pid

    def sweep(self) -> None:
        """Kill all that there are, and look again when one of them has ended. To be called when a slot has died."""
        killed, _ = kill_orphans(self._slots())
        news = killed - self._dying.keys()
        for pid in news:
            with suppress(ProcessLookupError):
                self._dying[pid] = pidfd = os.pidfd_open(pid)
                self._context.watch(pidfd, lambda pid=pid: self._on_end(pid))  # type: ignore[misc]
        if news:
            log.info(Event.ORPHANS_KILLED, processes=len(news))

    def close(self, within_s: float) -> None:
        """End all of them; waits for that."""
        for pidfd in self._dying.values():
            self._context.unwatch(pidfd)
            os.close(pidfd)
        self._dying.clear()
        end_children(within_s)

    def _on_end(self, pid: int) -> None:
        pidfd = self._dying.pop(pid)
        self._context.unwatch(pidfd)
        os.close(pidfd)
        reap(pid)
        self.sweep()
