"""A small tree that has nothing to do with functions: three counters, and a clerk that counts with them.

Run it with ``python examples/counter.py``. The clerk adds to each counter in turn, and makes one of them crash in the
middle. The counter comes back empty, as what it knew died with it, and the clerk, which monitors the counters, adds
what was lost once more. In the end every counter has the right value and the tree stops by itself.

::

    root             one_for_one
    ├─ counters      supervisor of a pool of three
    │  └─ counter-N  permanent
    └─ clerk         transient and significant: when it has ended normally, the tree ends
"""

import os
import sys

import msgspec

from regrow.runtime import (
    Actor,
    AutoShutdown,
    Down,
    NoArguments,
    NoSuchActor,
    ReasonKind,
    Restart,
    SupervisorSpec,
    branch,
    child,
    run_root,
)

COUNTERS = 3
GOAL = 10  # value that each counter shall reach


class Add(msgspec.Struct, frozen=True, tag="add"):
    """Answered with the new Value."""

    amount: int


class Crash(msgspec.Struct, frozen=True, tag="crash"):
    """Never answered: the caller learns of the death instead."""


class Value(msgspec.Struct, frozen=True):
    """What a counter has reached."""

    number: int


class Counter(Actor[NoArguments, Add | Crash]):
    """Counts, and forgets everything when it dies."""

    message_type = Add | Crash
    role = "counter"

    def on_start(self) -> None:
        """Begin at nothing."""
        self.number = 0

    def on_message(self, message: Add | Crash, sender: str) -> Value:  # noqa: ARG002
        """Count, or fall."""
        if isinstance(message, Crash):
            os.abort()
        self.number += message.amount
        self.context.annotate(number=str(self.number))
        return Value(self.number)


class Clerk(Actor[NoArguments, None]):
    """Brings every counter to GOAL, one step at a time, whatever happens to them."""

    role = "clerk"

    def on_start(self) -> None:
        """Begin with the first step."""
        self.values = {f"root/counters/counter-{number}": 0 for number in range(COUNTERS)}
        self.watched: set[str] = set()
        self.has_sabotaged = False
        self.context.after(0.0, self.step)

    def step(self) -> None:
        """Add one to the counter that is furthest behind; end when all are there."""
        path = min(self.values, key=lambda counter: self.values[counter])
        if self.values[path] == GOAL:
            print("all counters are at", GOAL, flush=True)
            self.context.exit()
            return
        if path not in self.watched:
            self.watched.add(path)
            self.context.monitor(path)
        is_time = self.values[path] == GOAL // 2 and not self.has_sabotaged
        self.has_sabotaged |= is_time
        try:
            self.values[path] = self.context.call(path, Crash() if is_time else Add(1), 1.0, Value).number
        except NoSuchActor:
            self.context.after(0.05, self.step)  # it is being restarted
            return
        self.context.after(0.0, self.step)

    def on_down(self, down: Down) -> None:
        """A counter has died, or was still dead when it was to be watched: what it had is lost, and counted again."""
        if down.reason.kind is not ReasonKind.NO_PROCESS:
            print(f"{down.path} ended ({down.reason}) at {self.values[down.path]}", flush=True)
        self.values[down.path] = 0
        self.watched.discard(down.path)


def spec() -> SupervisorSpec:
    """The tree drawn above."""
    counters = SupervisorSpec(pool=child("counter", Counter), size=COUNTERS)
    clerk = child("clerk", Clerk, restart=Restart.TRANSIENT, significant=True)
    return SupervisorSpec((branch("counters", counters), clerk), auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)


if __name__ == "__main__":
    sys.exit(run_root(spec()))
