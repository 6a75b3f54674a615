"""Values: all that is known of a finished run, and what was found in it."""

from enum import StrEnum
from typing import Any, Literal

import msgspec

from regrow.chaos.experiment import Experiment, Plan
from regrow.chaos.fault import Victim
from regrow.chaos.history import Mark, Move, Op
from regrow.runtime.tree import TreeNode


class Strike(msgspec.Struct, frozen=True):
    """One step of the plan as it came.  Times are monotonic seconds; ``applied_at`` is None for a miss (no victim, it had ended).

    ``last_beat_at``: of faults that make silence, when the victim was last heard, where that is known.
    """

    step: int
    fault: str
    options: dict[str, Any]
    planned_at: float
    applied_at: float | None = None
    undone_at: float | None = None
    victim: Victim | None = None
    worker: str = ""  # name of the worker that the victim is, or is a slot of
    detail: str = ""  # what was done, or why it missed
    last_beat_at: float | None = None


class Sample(msgspec.Struct, frozen=True):
    """One look at a probe, that began ``at`` and took ``took_s`` seconds.  ``value`` None: no answer."""

    at: float
    probe: str
    phase: Literal["before", "during", "after"]
    is_tolerable: bool
    value: float | str | None = None
    problem: str = ""
    took_s: float = 0.0


class Census(msgspec.Struct, frozen=True):
    """What the tree and the store weigh at one moment."""

    at: float
    tree: TreeNode
    processes: int
    rss_bytes: int
    store_keys: int | None = None
    open_files: int | None = None


class Evidence(msgspec.Struct, frozen=True):
    """Everything the checker takes.  ``began`` and ``ended`` bound the method; ``settled_at``: all tasks had ended, None: not in time."""

    experiment: Experiment
    plan: Plan
    began: float
    ended: float
    settled_at: float | None
    finished: float
    ops: tuple[Op, ...]
    marks: tuple[Mark, ...]
    moves: tuple[Move, ...]
    strikes: tuple[Strike, ...]
    samples: tuple[Sample, ...] = ()
    before: Census | None = None
    after: Census | None = None
    orphans: tuple[str, ...] = ()  # processes of the tree that outlived it or their place in it
    record_is_whole: bool = True  # False: events may be missing (a gap in the stream)
    stopped_because: str = ""  # a stop condition, or an interruption
    others: tuple[str, ...] | None = None  # ids of all tasks that are not the workload's (canaries); None: nobody knows


class Verdict(StrEnum):
    """Three-valued: what was not exercised, or cannot be known, is no pass."""

    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


class Moment(msgspec.Struct, frozen=True):
    """One line of a timeline. ``source``: client, witness, record or nemesis."""

    at: float
    source: Literal["client", "witness", "record", "nemesis"]
    text: str


class CounterExample(msgspec.Struct, frozen=True):
    """What contradicts an invariant, as the whole story of its task (or of the actor)."""

    subject: str
    why: str
    timeline: tuple[Moment, ...]


class Judgement(msgspec.Struct, frozen=True):
    """One invariant. ``checked``: of how many tasks (or actors); of its ``violations`` at most 10 are kept as counter-examples."""

    invariant: str
    verdict: Verdict
    promise: str  # what it says, in a sentence
    detail: str = ""
    checked: int = 0
    violations: int = 0
    counter_examples: tuple[CounterExample, ...] = ()


class Distribution(msgspec.Struct, frozen=True):
    """Of seconds."""

    n: int
    least: float
    p50: float
    p90: float
    p99: float
    most: float
    values: tuple[float, ...]  # sorted; for a histogram


class Recovery(msgspec.Struct, frozen=True):
    """The course of one strike that hit a running task; monotonic seconds, None: not seen.

    ``path``: by which its loss was noticed: ``sentinel`` (the death itself), ``heartbeat`` (silence), or ``other``.
    """

    step: int
    fault: str
    path: Literal["sentinel", "heartbeat", "other"]
    task_id: str
    injected: float
    last_beat: float | None
    detected: float | None
    queued: float | None
    running: float | None
    finished: float | None


class Accounting(msgspec.Struct, frozen=True):
    """Every submit, once: attempted = acknowledged + rejected + unknown; acknowledged = completed + failed + lost."""

    attempted: int
    acknowledged: int
    rejected: dict[str, int]
    unknown: int
    recovered: int  # of the unknown: they ran all the same
    completed: int
    failed: dict[str, int]
    lost: int
    executions: dict[int, int]  # how often a task was started -> how many tasks
    quarantined: int


class Findings(msgspec.Struct, frozen=True):
    """What the checker says.  ``missed``: what had to be hit and was not; ``coverage``: "fault x doing" -> how often."""

    verdict: Verdict
    reasons: tuple[str, ...]
    judgements: tuple[Judgement, ...]
    accounting: Accounting
    recoveries: tuple[Recovery, ...]
    distributions: dict[str, Distribution]  # "kill/sentinel/queued" and so on: fault, path, injected -> what
    missed: tuple[str, ...]
    coverage: dict[str, int]
