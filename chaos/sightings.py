"""Shell: what a client saw of its calls, as the lines of history.jsonl; and what a task's answer says of it."""

import hashlib
import re
import time
from itertools import count
from pathlib import Path
from typing import Final, Literal, Self

import msgspec

from regrow.chaos.door import NoAnswer
from regrow.chaos.history import Op
from regrow.chaos.kinds import shown
from regrow.chaos.lines import Lines
from regrow.gateway import by_value
from regrow.gateway.answers import TaskView

Action = Literal["submit", "cancel", "read", "final"]
RUN: Final = re.compile(r"\(run ([0-9a-f]{16})\)")


class Errand(msgspec.Struct, frozen=True):
    """A task of the workload.  ``task_id``: "" until it is acknowledged."""

    number: int
    kind: str
    task_id: str = ""


class Sightings:
    """All ops, in memory and in their file as they happen."""

    def __init__(self, path: Path) -> None:
        self.ops: list[Op] = []
        self._lines = Lines(path)
        self._calls = count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._lines.__exit__(*exc)

    def invoke(self, action: Action, errands: list[Errand], at: float, dues: list[float] | None = None) -> list[Op]:
        """The first halves of calls that were begun ``at``."""
        times: list[float | None] = list(dues) if dues else [None] * len(errands)
        return self._noted(
            [
                Op("invoke", at, next(self._calls), action, each.number, each.kind, due, each.task_id)
                for each, due in zip(errands, times, strict=True)
            ]
        )

    def acknowledged(self, invoked: Op, task_id: str) -> None:
        """A submit got an id."""
        self._noted([Op("ok", time.monotonic(), invoked.call, "submit", invoked.number, invoked.kind, task_id=task_id)])

    def failed(self, invoked: list[Op], error: NoAnswer) -> None:
        """Calls that were refused, or of which nobody knows what became."""
        at, word = time.monotonic(), "fail" if error.is_certain else "info"
        self._noted([msgspec.structs.replace(op, type=word, at=at, due=None, problem=error.problem) for op in invoked])

    def seen(self, action: Action, errands: list[Errand], asked_at: float, tasks: list[TaskView]) -> None:
        """What a read was answered with now, in the same order."""
        invoked = self.invoke(action, errands, asked_at)
        at = time.monotonic()
        self._noted([_sighting(op, at, task) for op, task in zip(invoked, tasks, strict=True)])

    def end_of(self, number: int) -> Op:
        """How a task that has ended was seen to end."""
        return next(op for op in reversed(self.ops) if op.number == number and op.digest)

    def _noted(self, ops: list[Op]) -> list[Op]:
        self.ops += ops
        self._lines.add(ops)
        return ops


def _sighting(invoked: Op, at: float, task: TaskView) -> Op:
    found = msgspec.structs.replace(invoked, type="ok", at=at, status=str(task.status), attempts=len(task.attempts))
    if not task.is_final:
        return found
    run, value = _contents(task)
    error_kind = task.error.kind if task.error else ""
    return msgspec.structs.replace(found, error_kind=error_kind, digest=digest(task), run=run, value=value)


def digest(task: TaskView) -> str:
    """Of everything that must not change any more once a task has ended."""
    whole = msgspec.msgpack.encode((task.status, task.finished_at, task.result, task.error, task.attempts))
    return hashlib.blake2b(whole, digest_size=16).hexdigest()


def _contents(task: TaskView) -> tuple[str, str]:
    """The run's token and the value, where there are any; of a value that is no task's of ours, what it looks like."""
    if task.error is not None:
        found = RUN.search(task.error.message)
        return (found[1] if found else ""), ""
    try:
        value = by_value.loads(task.result or b"")
        return value["run"], shown(value["value"])
    except Exception as error:  # noqa: BLE001 (any bytes may be there: that is what is looked for)
        return "", f"unreadable: {type(error).__name__}"
