"""Values: an experiment as it was written: what is done to a tree, under which load, and what must hold.

Times are float seconds from the start of the method, unless their name says otherwise.
"""

from enum import StrEnum
from typing import Any, Literal

import msgspec

from regrow.chaos.fault import Role


class Strategy(StrEnum):
    """When the steady state is looked at.  ``default`` is before and after; a gate that fails before stops everything."""

    BEFORE = "before"
    AFTER = "after"
    DURING = "during"
    DEFAULT = "default"
    CONTINUOUS = "continuous"


class Arrivals(StrEnum):
    """How submits are spread over time; never in answer to what becomes of earlier ones."""

    CONSTANT = "constant"
    POISSON = "poisson"
    BURSTS = "bursts"
    RAMP = "ramp"


class Doing(StrEnum):
    """What a victim must be doing when it is picked."""

    ANYTHING = "anything"
    RUNNING_TASK = "running_task"
    IDLE = "idle"


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"doing": "while"}):
    """Who is hit: running actors of ``role``, or the one called ``name`` (name or path)."""

    role: Role = Role.WORKER
    name: str = ""
    pick: Literal["random", "first", "all"] = "random"
    doing: Doing = Doing.ANYTHING


class Action(msgspec.Struct, frozen=True):
    """One line of the method: a fault and when it comes: at ``at_s``, or ``count`` times, ``every_s`` with ``jitter_s``.

    ``fault`` is its name and ``options`` are its own fields, checked (see ``faults``).  ``for_s``: undone after that.
    Without ``background`` the next line's clock starts when this one is over. ``seed``: of what its (first) fault leaves to chance, in
    place of one that comes of the experiment's.
    """

    fault: str
    options: dict[str, Any] = {}
    target: Target | None = None
    at_s: float | None = None
    every_s: float | None = None
    jitter_s: float = 0.0
    count: int = 1
    for_s: float | None = None
    background: bool = False
    seed: int | None = None


class Workload(msgspec.Struct, frozen=True):
    """Open loop: ``rate`` submits per second for ``duration_s``; ``mix`` is the share of each kind of task (see ``kinds``)."""

    rate: float = 20.0
    duration_s: float = 30.0
    mix: dict[str, float] = msgspec.field(default_factory=lambda: {"noop": 1.0})
    arrivals: Arrivals = Arrivals.POISSON
    burst: int = 10  # submits at once, of bursts
    rate_to: float | None = None  # at the end, of a ramp


class Tolerance(msgspec.Struct, frozen=True):
    """What a probe's value may be: equal, one of, in a range, at least, at most, or text that fits a pattern.

    ``kind`` is equal, any_of, range, min, max or regex.  ``target``: which part of the probe's answer is looked at.
    """

    kind: Literal["equal", "any_of", "range", "min", "max", "regex"]
    value: Any = None
    target: str = ""


class Probe(msgspec.Struct, frozen=True):
    """One measure of the steady state.

    ``type``: ``task`` (a canary goes through the tree; targets: latency_ms, value), ``http`` (GET ``url``; targets: status,
    latency_ms, body) or ``tree`` (``path`` in GET /v1/tree; targets: running (children), restarts, state).
    """

    name: str
    type: Literal["task", "http", "tree"]
    tolerance: Tolerance
    url: str = ""
    path: str = ""
    timeout_s: float = 5.0


class Hypothesis(msgspec.Struct, frozen=True):
    """The steady state."""

    probes: tuple[Probe, ...] = ()
    strategy: Strategy = Strategy.DEFAULT
    every_s: float = 1.0


class Configuration(msgspec.Struct, frozen=True):
    """The tree that is started for it; of a running one it is only said how it differs."""

    mode: Literal["push", "pull", "local"] = "push"
    workers: int = 2
    slots: int = 2
    store: Literal["embedded"] = "embedded"
    durability: Literal["always", "everysec"] = "always"
    fast_death: bool = True  # False: a death is noticed by silence only
    memory_budget_bytes: int | None = None
    max_queued: int | None = None


class Expectations(msgspec.Struct, frozen=True):
    """What is asked of the run. ``invariants``: name -> its own bound, None for its ordinary one; recovery: name -> seconds, as detect_p99.

    ``must_hit``: name -> least number, as kill_while_running.
    """

    invariants: dict[str, float | None] = {}
    recovery: dict[str, float] = {}
    must_hit: dict[str, int] = {}


class StopWhen(msgspec.Struct, frozen=True):
    """What ends a run early, with everything undone."""

    gateway_down_s: float | None = None  # no answer for so long
    faults_outstanding: int | None = None  # more than this many that are not undone


class Experiment(msgspec.Struct, frozen=True):
    """All of one file.  ``settle_s``: how long the tree may take, faults undone, until every task has ended."""

    title: str
    description: str = ""
    seed: int = 0
    configuration: Configuration = Configuration()
    workload: Workload = Workload()
    hypothesis: Hypothesis = Hypothesis()
    method: tuple[Action, ...] = ()
    settle_s: float = 30.0
    expect: Expectations = Expectations()
    stop_when: StopWhen = StopWhen()
    tags: tuple[str, ...] = ()


class Step(msgspec.Struct, frozen=True):
    """One fault of a plan. ``seed`` is for whatever it leaves to chance (which victim, which jitter)."""

    number: int
    at_s: float
    fault: str
    options: dict[str, Any]
    target: Target | None
    for_s: float | None
    seed: int


class Plan(msgspec.Struct, frozen=True):
    """Every fault, in order of time: a pure function of the experiment and its seed."""

    title: str
    seed: int
    steps: tuple[Step, ...]
