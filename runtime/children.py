"""Core: the children of one supervisor, each a small state machine, and the table that keeps their order.

Theory of operation
    ::

        EXITED ──start──▶ STARTING ──acknowledge──▶ RUNNING
          ▲ ▲               │    │                   │  │
          │ └──────end──────┘    └─stop, fence─┐ ┌───┘  │
          │                                    ▼ ▼      │
          ├────────────end───────────────── STOPPING    │
          ├────────────end──────────────────────────────┘
          └─▶ BACKOFF (waits to be started again)      FATAL (it made its supervisor give up)

    ``MOVES`` is the whole truth. A child has a process in STARTING, RUNNING and STOPPING, and in no other state, so
    two incarnations can never live at once: a start is legal only where there is no process, and only ``end`` leads
    there.

    STOPPING has two causes. A child that was *stopped* (``is_asked``) ends because somebody decided it: no policy
    applies to its end. A child that was *fenced* has failed already (silent, or not ready in time): it is killed
    first, so that it cannot go on acting beside its successor, and when it is gone it is treated like any other
    failure, with the cause as its reason. A fenced child can still be stopped, which only takes the policy away.

    Incarnations count up for each id. A forgotten id leaves its count behind as a floor for every later newcomer, so
    that an (id, incarnation) pair never names two lives, and the table does not grow with ids of the past.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from regrow.runtime.backoff import CrashLoop
from regrow.runtime.errors import InvalidTransition
from regrow.runtime.spec import Backoff, ChildKind, ChildSpec, ChildState, ExitReason, ReasonKind, Restart
from regrow.runtime.stimuli import Announce, AskToStop, Effect, Kill, Spawn

MOVES: Final = {
    ChildState.EXITED: {ChildState.STARTING, ChildState.BACKOFF, ChildState.FATAL},
    ChildState.BACKOFF: {ChildState.STARTING, ChildState.EXITED},
    ChildState.STARTING: {ChildState.RUNNING, ChildState.STOPPING, ChildState.EXITED},
    ChildState.RUNNING: {ChildState.STOPPING, ChildState.EXITED},
    ChildState.STOPPING: {ChildState.EXITED},
    ChildState.FATAL: set[ChildState](),
}
LIVE: Final = frozenset({ChildState.STARTING, ChildState.RUNNING, ChildState.STOPPING})


class ChildView(msgspec.Struct, frozen=True):
    """A child, as in ``which_children``: ``restarts`` are starts after the first, ``reason`` is of the last end."""

    id: str
    incarnation: int
    state: ChildState
    restarts: int
    spec: ChildSpec
    reason: ExitReason | None


class Counts(msgspec.Struct, frozen=True):
    """How many children: ``specs`` known, ``active`` with a process; ``supervisors`` and ``workers`` of the specs."""

    specs: int
    active: int
    supervisors: int
    workers: int


@dataclass(slots=True)
class Child:
    """One child and its present life. The methods are the moves; each returns its effects, in order."""

    spec: ChildSpec
    loop: CrashLoop
    floor: int = 0
    incarnation: int = 0
    state: ChildState = ChildState.EXITED
    reason: ExitReason | None = None
    deadline: float | None = None  # of the start, the grace or the delay, by state
    ready_at: float | None = None
    is_asked: bool = False
    is_killed: bool = False
    is_leaving: bool = False  # stopped for good: forget it at its end
    verdict: ExitReason | None = None  # why it was fenced

    def __post_init__(self) -> None:
        self.incarnation = self.floor

    @property
    def id(self) -> str:
        """Its name under this supervisor."""
        return self.spec.id

    @property
    def is_live(self) -> bool:
        """Whether it has, or is about to have, a process."""
        return self.state in LIVE

    @property
    def is_temporary(self) -> bool:
        """Whether it is never started again."""
        return self.spec.restart is Restart.TEMPORARY

    @property
    def last_reason(self) -> ExitReason:
        """How its last life ended; ask only when one has."""
        assert self.reason is not None
        return self.reason

    def start(self, now: float) -> list[Effect]:
        """A new incarnation."""
        self.incarnation += 1
        self.ready_at = self.verdict = None
        self.is_asked = self.is_killed = False
        announcement = self._enter(ChildState.STARTING, now + self.spec.start_timeout_s)
        return [Spawn(self.id, self.incarnation, self.spec), announcement]

    def acknowledge(self, now: float) -> list[Effect]:
        """Its init is done."""
        self.ready_at = now
        return [self._enter(ChildState.RUNNING)]

    def stop(self, now: float) -> list[Effect]:
        """Ask it to end; Tick kills it when its grace is over. One not yet ready has nothing to save: kill it."""
        self.is_asked = True
        if self.state is ChildState.STOPPING:
            return []
        grace_s = 0.0 if self.state is ChildState.STARTING else self.spec.shutdown_s
        if grace_s == 0:
            return [self._enter(ChildState.STOPPING), *self.kill()]
        announcement = self._enter(ChildState.STOPPING, None if grace_s is None else now + grace_s)
        return [AskToStop(self.id, self.incarnation), announcement]

    def kill(self) -> list[Effect]:
        """No more grace."""
        self.deadline = None
        self.is_killed = True
        return [Kill(self.id, self.incarnation)]

    def fence(self, verdict: ExitReason) -> list[Effect]:
        """Kill it for a failure that its process would not show: ``verdict`` becomes the reason of its end."""
        self.verdict = verdict
        entered = [] if self.state is ChildState.STOPPING else [self._enter(ChildState.STOPPING)]
        return [*self.kill(), *entered]

    def end(self, reason: ExitReason, now: float) -> list[Effect]:
        """Its process is gone. A life that nobody stopped is entered into its crash loop."""
        self.reason = self.verdict or (self._stopped(reason) if self.is_asked else reason)
        if not self.is_asked:
            self.loop.record(self.ready_at, self.reason, now)
        return [self._enter(ChildState.EXITED, reason=self.reason)]

    def delay(self, until: float) -> list[Effect]:
        """It will be started again, but not before ``until``."""
        return [self._enter(ChildState.BACKOFF, until)]

    def call_off(self) -> list[Effect]:
        """It will not be started again after all."""
        return [self._enter(ChildState.EXITED)] if self.state is ChildState.BACKOFF else []

    def condemn(self) -> list[Effect]:
        """Its supervisor gives up over it."""
        return [self._enter(ChildState.FATAL)]

    @property
    def is_hopelessly_silent(self) -> bool:
        """Whether silence is a reason to kill it: it should be working, or was given for ever to stop, and hangs."""
        waits_for_ever = self.state is ChildState.STOPPING and self.deadline is None and not self.is_killed
        return self.state is ChildState.RUNNING or waits_for_ever

    def view(self) -> ChildView:
        """For people and other actors."""
        restarts = max(0, self.incarnation - self.floor - 1)
        return ChildView(self.id, self.incarnation, self.state, restarts, self.spec, self.reason)

    def _stopped(self, reason: ExitReason) -> ExitReason:
        """The end of a stopped child is ``shutdown``, unless it crashed over it on its own account."""
        if self.is_killed:
            return ExitReason(ReasonKind.SHUTDOWN, note="killed: it had no grace, or had not ended within it")
        is_obedient = reason.is_normal or (reason.kind is ReasonKind.SIGNAL and reason.detail == "SIGTERM")
        return ExitReason(ReasonKind.SHUTDOWN, note=reason.note) if is_obedient else reason

    def _enter(self, state: ChildState, deadline: float | None = None, reason: ExitReason | None = None) -> Announce:
        if state not in MOVES[self.state]:
            raise InvalidTransition(f"child {self.id}, incarnation {self.incarnation}: no move {self.state} -> {state}")
        self.state = state
        self.deadline = deadline
        return Announce(self.id, self.incarnation, state, reason)


@dataclass(slots=True)
class Children:
    """The child table, in start order."""

    backoff: Backoff
    _by_id: dict[str, Child] = field(default_factory=dict)
    _floor: int = 0  # the highest incarnation of any forgotten child

    def __iter__(self) -> Iterator[Child]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, spec: ChildSpec) -> Child:
        """Append a child that has not started yet."""
        child = self._by_id[spec.id] = Child(spec, CrashLoop(self.backoff), self._floor)
        return child

    def forget(self, child: Child) -> None:
        """Drop an ended child with its spec."""
        self._floor = max(self._floor, child.incarnation)
        del self._by_id[child.id]

    def get(self, child_id: str) -> Child | None:
        """The child of that id."""
        return self._by_id.get(child_id)

    def living(self, child_id: str, incarnation: int) -> Child | None:
        """The child, if that very life of it goes on."""
        child = self._by_id.get(child_id)
        return child if child and child.is_live and child.incarnation == incarnation else None

    def live(self, among: Container[str] | None = None) -> list[Child]:
        """Those that have a process, in start order; of ``among`` if given."""
        return [child for child in self._by_id.values() if child.is_live and (among is None or child.id in among)]

    def since(self, child: Child) -> list[str]:
        """The ids of ``child`` and of all that start after it."""
        ids = list(self._by_id)
        return ids[ids.index(child.id) :]

    def due(self, now: float) -> list[Child]:
        """Those whose deadline has come (bound included)."""
        return [child for child in self._by_id.values() if child.deadline is not None and child.deadline <= now]

    def next_deadline(self) -> float | None:
        """The earliest deadline of any child."""
        return min((child.deadline for child in self._by_id.values() if child.deadline is not None), default=None)

    def counts(self) -> Counts:
        """As OTP's count_children."""
        supervisors = sum(child.spec.kind is ChildKind.SUPERVISOR for child in self._by_id.values())
        return Counts(len(self), len(self.live()), supervisors, len(self) - supervisors)
