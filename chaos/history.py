"""Values: what three independent sources saw of one run.

- ``Op``: the workload's own calls, as any client sees them (history.jsonl);
- ``Mark``: what the tasks themselves wrote into files that regrow does not know of (witness/*.jsonl);
- ``TaskMove``, ``ChildMove``: the tree's record of events (events.jsonl).

Every time ``at`` is monotonic seconds of the machine; the collector turned wall time into it (``wall_at`` keeps the original).
"""

from typing import Literal

import msgspec


class Op(msgspec.Struct, frozen=True, omit_defaults=True):
    """One half of a call: ``invoke``, then ``ok``, ``fail`` (it certainly had no effect) or ``info`` (nobody knows).

    ``action``: ``submit``, ``cancel``, ``read`` (of a task that may not have ended), or ``final`` (the last read, after the settling).
    The ok of all but a submit has ``status``, and of an ended task ``digest`` (of its whole outcome), ``run`` (the token of the run that
    made it), and ``value``.
    """

    type: Literal["invoke", "ok", "fail", "info"]
    at: float
    call: int  # pairs the two halves
    action: Literal["submit", "cancel", "read", "final"]
    number: int  # the workload's own number of the task
    kind: str = ""  # of task: noop, sleep1s, poison ...
    due: float | None = None  # of a submit's invoke: when it was meant to be sent
    task_id: str = ""
    status: str = ""
    error_kind: str = ""  # of a FAILED task, from the closed list
    digest: str = ""
    run: str = ""
    value: str = ""  # JSON text of what the function returned, without the run's token
    attempts: int = 0
    problem: str = ""  # code or exception, of fail and info


class Mark(msgspec.Struct, frozen=True):
    """One line of a task: it has started, come to its end, or is about to raise.  ``run`` is a token that this run alone has."""

    word: Literal["start", "end", "raise"]
    number: int
    run: str
    pid: int
    at: float


class TaskMove(msgspec.Struct, frozen=True, tag="task", omit_defaults=True):
    """A move of a task, from the tree's record (the words of ``actors/task.py``); ``after`` is the status it led to."""

    at: float
    wall_at: float
    task_id: str
    move: str
    attempt: int
    worker: str = ""
    why: str = ""


class ChildMove(msgspec.Struct, frozen=True, tag="child", omit_defaults=True):
    """What happened to a process: child.up, child.down, child.overdue, child.killed, supervisor.gave_up, slot.down."""

    at: float
    wall_at: float
    event: str
    path: str
    incarnation: int
    pid: int | None = None
    reason: str = ""


Move = TaskMove | ChildMove
