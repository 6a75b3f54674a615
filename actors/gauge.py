"""Shell: a worker's look at its memory: by a timer, because nothing in the kernel tells a process of this in time.

The timer runs only while the worker has tasks, or while memory is short. Unless that changes, one look is one reading and says
nothing.
"""

from collections.abc import Callable
from typing import Final

from regrow.actors import meter
from regrow.actors.memory import Memory, TreeMemory, ancestor, surroundings
from regrow.actors.pressure import LOOK_S, Scale
from regrow.actors.slots import Slots
from regrow.actors.task import WorkerId
from regrow.actors.wire import Level, Pressure, Use
from regrow.runtime.actor import Context

IDLE_SLOT_BYTES: Final = 16 * 1024 * 1024  # what a slot has before it has run anything: 12 measured, and some room


class Gauge:
    """Tells ``tell`` how short memory is; that answers False if nobody could be told. ``pid_of``: the process of a slot."""

    def __init__(
        self,
        context: Context,
        memory: Memory,
        slots: Slots,
        pid_of: Callable[[int], int | None],
        tell: Callable[[Pressure], bool],
    ) -> None:
        self._context = context
        self._memory = memory
        self._slots = slots
        self._pid_of = pid_of
        self._tell = tell
        self._scale = Scale()
        self._told = Level.OK
        self._is_looking = False

    def wake(self) -> None:
        """Look from now on, if there is a reason to. To be called when there may be tasks."""
        is_short = self._scale.level is not Level.OK or self._told is not Level.OK
        if not self._is_looking and (self._slots.held or is_short):
            self._is_looking = True
            self._context.after(LOOK_S, self._look)

    def _look(self) -> None:
        self._is_looking = False
        reading = self._memory.read()
        level = self._scale.weigh(reading)
        if (level is not Level.OK or self._told is not Level.OK) and self._tell(
            Pressure(level, reading.used_bytes, reading.budget_bytes, self._uses())
        ):
            self._told = level
        self.wake()

    def _uses(self) -> list[Use]:
        return [
            Use(job.task.task_id, job.task.attempt, max(0, meter.usage(pid).memory_bytes - IDLE_SLOT_BYTES))
            for number, job in self._slots.running()
            if (pid := self._pid_of(number)) is not None
        ]


def memory_of(context: Context, worker: WorkerId, budget_bytes: int | None) -> Memory:
    """The memory that a worker shares with others."""
    if budget_bytes is None:
        return surroundings()
    if not context.tree:
        return TreeMemory(worker, ancestor(0), budget_bytes)
    return TreeMemory(context.tree, ancestor(context.path.count("/")), budget_bytes)
