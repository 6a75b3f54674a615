"""Shell: who asked a supervisor for an operation, until the core has an answer.

The core knows an operation by a ticket only. Every caller is answered exactly once; a cast has no caller, and its
ticket is answered to nobody.
"""

from typing import assert_never

from regrow.runtime import stimuli, tree
from regrow.runtime.actor import Context
from regrow.runtime.desk import Caller
from regrow.runtime.stimuli import Answered
from regrow.runtime.tree import Operation


class Tickets:
    """The callers that wait, in the supervisor whose ``context`` this is."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._callers: dict[int, Caller] = {}
        self._last = 0

    def take(self, message: Operation) -> stimuli.Operation:
        """What the core is asked to do, under a ticket for the present caller."""
        ticket = self._draw()
        match message:
            case tree.StartChild(spec):
                return stimuli.StartChild(ticket, spec)
            case tree.TerminateChild(child):
                return stimuli.TerminateChild(ticket, child)
            case tree.RestartChild(child):
                return stimuli.RestartChild(ticket, child)
            case tree.DeleteChild(child):
                return stimuli.DeleteChild(ticket, child)
            case tree.Resize(size):
                return stimuli.Resize(ticket, size)
            case _:
                assert_never(message)

    def _draw(self) -> int:
        self._last += 1
        caller = self._context.defer_answer()
        if caller is not None:
            self._callers[self._last] = caller
        return self._last

    def answer(self, answered: Answered) -> None:
        """Tell the one who asked."""
        caller = self._callers.pop(answered.ticket, None)
        if answered.error is None:
            self._context.answer(caller, tree.Done())
        else:
            self._context.refuse(caller, answered.error.value, answered.detail or answered.error.value)
