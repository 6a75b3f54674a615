"""Core: what to do about children that start, end, hang, or are asked for.

Theory of operation
    ``fold`` takes one stimulus into the state and returns the effects, in the order in which they are to be carried
    out. It never waits: "stop these one after another, then start those" is a state, and each Exited, Ready or Tick
    moves it one step on. Feed Tick when ``next_deadline()`` has come. The life of a supervisor::

        WAITING ──Begin──▶ BEGINNING ──all ready──▶ UP
           │                   │ a start failed      │ StopRequested, gave up, auto-shutdown
           └───────────────────┴────────▶ ENDING ◀───┘ ──no child lives──▶ OVER

    **The initial start and the restart of a group** stop and start children in order: that is a renewal (see there).

    **A single restart** (one_for_one) concerns nobody else. It goes on beside everything, and many of them beside
    each other: a child that waits out a long delay holds nothing up.

    **A restart costs** a unit of the budget at the moment of the death, also when what died had not yet been ready.
    If the budget is exceeded, or the child is in a hopeless crash loop, the supervisor gives up before it starts
    anything.

    **Operations** are carried out one at a time, in the order they came, and not while there is something to renew;
    a group restart that falls due during an operation waits for its end. A request to stop waits for nothing: it calls
    off renewal, delays and operations.

    **Ending.** Children are stopped last one first (a pool: all together, each with its own grace), and nothing is
    started any more.
"""

from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import assert_never

from regrow.runtime.budget import RestartBudget
from regrow.runtime.children import Child, Children, ChildView, Counts
from regrow.runtime.operations import Operations, allowance, pool_members
from regrow.runtime.renewal import Renewal, stop_next
from regrow.runtime.spec import (
    AutoShutdown,
    ChildState,
    ExitReason,
    ReasonKind,
    Restart,
    Strategy,
    SupervisorSpec,
    validate_supervisor,
)
from regrow.runtime.stimuli import (
    GAVE_UP,
    Begin,
    Effect,
    Exited,
    Finished,
    Operation,
    Overdue,
    Ready,
    Report,
    ReportKind,
    Respecify,
    Started,
    Stimulus,
    StopRequested,
    Tick,
)


class Phase(Enum):
    """Where a supervisor stands in its own life."""

    WAITING = auto()  # for Begin
    BEGINNING = auto()
    UP = auto()
    ENDING = auto()
    OVER = auto()


class Supervision:
    """One supervisor's children and all decisions about them. ``now`` is monotonic seconds and never goes back.

    ``jitter`` gives numbers in [0, 1).  Raises ConfigError for a spec that contradicts itself.
    """

    def __init__(self, spec: SupervisorSpec, jitter: Callable[[], float]) -> None:
        validate_supervisor(spec)
        self.spec = spec
        self.budget = RestartBudget(allowance(spec, spec.size))
        self.phase = Phase.WAITING
        self._jitter = jitter
        self._children = Children(spec.backoff)
        self._operations = Operations(spec, self._children, self.budget)
        self._renewal = Renewal(self._children, spec.pool is not None)
        self._reason = ExitReason(ReasonKind.NORMAL)  # of our own end
        self._effects: list[Effect] = []
        for child in pool_members(spec.pool, spec.size) if spec.pool else spec.children:
            self._children.add(child)

    def fold(self, stimulus: Stimulus, now: float) -> list[Effect]:
        """Take in one stimulus; what is to be done about it, in order."""
        match stimulus:
            case Begin():
                self._begin()
            case Ready(child, incarnation):
                self._take_ready(self._children.living(child, incarnation), now)
            case Exited(child, incarnation, reason):
                self._take_exit(self._children.living(child, incarnation), reason, now)
            case Overdue(child, incarnation):
                self._take_silence(self._children.living(child, incarnation))
            case Respecify(child, incarnation, arguments):
                self._emit(self._operations.respecify(self._children.living(child, incarnation), arguments))
            case Tick():
                for due in self._children.due(now):
                    self._meet_deadline(due, now)
            case StopRequested(reason):
                self._end(reason)
            case _:
                self._operations.ask(stimulus)
        self._advance(now)
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> float | None:
        """When to feed Tick, if nothing else comes before; None: never."""
        return self._children.next_deadline()

    def children(self) -> list[ChildView]:
        """OTP's which_children, in start order."""
        return [child.view() for child in self._children]

    def counts(self) -> Counts:
        """OTP's count_children."""
        return self._children.counts()

    @property
    def pending_operation(self) -> Operation | None:
        """The operation that is under way."""
        return self._operations.current

    # ---- stimuli ----

    def _begin(self) -> None:
        if self.phase is Phase.WAITING:
            self.phase = Phase.BEGINNING
            self._renewal.add(child.id for child in self._children)

    def _take_ready(self, child: Child | None, now: float) -> None:
        if child is None or child.state is not ChildState.STARTING:
            return
        self._emit(child.acknowledge(now))
        self._renewal.acknowledged(child)
        self._emit(self._operations.acknowledged(child))

    def _take_silence(self, child: Child | None) -> None:
        if child is not None and child.is_hopelessly_silent:
            self._emit(child.fence(ExitReason(ReasonKind.HEARTBEAT_LOST)))

    def _meet_deadline(self, child: Child, now: float) -> None:
        if child.state is ChildState.STARTING:
            note = f"not ready within {child.spec.start_timeout_s:g} s"
            self._emit(child.fence(ExitReason(ReasonKind.START_TIMEOUT, note=note)))
        elif child.state is ChildState.STOPPING:
            self._emit(child.kill())
        elif child in self._renewal:
            child.deadline = None  # the renewal has waited for it
        else:
            self._emit(child.start(now))

    def _take_exit(self, child: Child | None, reason: ExitReason, now: float) -> None:
        if child is None:
            return
        self._emit(child.end(reason, now))
        self._judge(child, now)
        if self._children.get(child.id) is None:
            self._renewal.drop(child)

    # ---- decisions about an ended child ----

    def _judge(self, child: Child, now: float) -> None:
        """The rules: who is started again, whose end is our own, who is forgotten."""
        if child.is_asked:
            self._report(ReportKind.STOP_FAILED, child)
            self._clear_away(child)
            self._emit(self._operations.ended(child))
        elif self.phase is Phase.ENDING:
            self._report(ReportKind.CHILD_ENDED, child)
            self._clear_away(child)
        elif self._operations.is_trying(child):
            self._report(ReportKind.START_FAILED, child, even_normal=True)
            self._emit(self._operations.failed(child, child.last_reason))
        elif child in self._renewal and not self._renewal.is_raising(child):  # it would have been stopped next
            self._report(ReportKind.CHILD_ENDED, child)
            self._clear_away(child)
        elif child.ready_at is None:
            self._judge_failed_start(child, now)
        else:
            self._judge_death(child, now)

    def _judge_failed_start(self, child: Child, now: float) -> None:
        self._report(ReportKind.START_FAILED, child, even_normal=True)
        if self.phase is Phase.BEGINNING and self._renewal.is_raising(child):
            note = f"child {child.id}: {child.last_reason}"
            self._end(ExitReason(ReasonKind.EXCEPTION, "StartFailed", note))
        elif child.is_temporary:
            self._let_go(child)
        else:
            self._restart(child, now)

    def _judge_death(self, child: Child, now: float) -> None:
        is_permanent = child.spec.restart is Restart.PERMANENT
        self._report(ReportKind.CHILD_ENDED, child, even_normal=is_permanent)
        if is_permanent or not (child.is_temporary or child.last_reason.is_normal):
            self._restart(child, now)
        else:
            self._let_go(child)

    def _restart(self, child: Child, now: float) -> None:
        if not self.budget.spend(now):
            self._give_up(child, ReportKind.MAX_INTENSITY)
        elif child.loop.is_hopeless:
            self._give_up(child, ReportKind.CRASH_LOOP)
        else:
            self._schedule(child, child.loop.delay_s(self._jitter()), now)

    def _schedule(self, child: Child, delay_s: float, now: float) -> None:
        if delay_s > 0:
            self._emit(child.delay(now + delay_s))
        match self.spec.strategy:
            case Strategy.ONE_FOR_ONE:
                if delay_s == 0:
                    self._emit(child.start(now))
            case Strategy.ONE_FOR_ALL:
                self._renewal.add(other.id for other in self._children)
            case Strategy.REST_FOR_ONE:
                self._renewal.add(self._children.since(child))
            case _:
                assert_never(self.spec.strategy)

    def _let_go(self, child: Child) -> None:
        """It ended by itself and is not started again: forget it if temporary, and see whether we are still needed."""
        self._clear_away(child)
        if not child.spec.significant:
            return
        others = (other for other in self._children if other.spec.significant and other is not child)
        is_last = not any(
            other.is_live or other.state is ChildState.BACKOFF or other in self._renewal for other in others
        )
        if is_last or self.spec.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT:
            self._end(ExitReason(ReasonKind.SHUTDOWN, "auto_shutdown", f"significant child {child.id} ended"))

    def _clear_away(self, child: Child) -> None:
        if child.is_temporary or child.is_leaving:
            self._children.forget(child)

    # ---- our own end ----

    def _give_up(self, child: Child, kind: ReportKind) -> None:
        self._emit(child.condemn())
        self._report(kind, child, even_normal=True)
        self._end(ExitReason(ReasonKind.SHUTDOWN, kind, f"{GAVE_UP[kind]}; child {child.id}: {child.last_reason}"))

    def _end(self, reason: ExitReason) -> None:
        if self.phase in (Phase.ENDING, Phase.OVER):
            return
        self.phase = Phase.ENDING
        self._reason = reason
        self._renewal.call_off()
        for child in self._children:
            self._emit(child.call_off())

    # ---- progress ----

    def _advance(self, now: float) -> None:
        """Take whatever step the new state allows."""
        if self.phase in (Phase.BEGINNING, Phase.UP):
            if self._renewal.is_active and self._operations.current is None:
                self._emit(self._renewal.step(now))
            if not self._renewal.is_active:
                self._acknowledge_own_start()
                self._emit(self._operations.proceed(now))
        elif self.phase is not Phase.WAITING:
            self._emit(self._operations.refuse())
            self._end_step(now)

    def _end_step(self, now: float) -> None:
        living = self._children.live()
        self._emit(stop_next(living, is_pool=self.spec.pool is not None, now=now))
        if not living and self.phase is Phase.ENDING:
            self.phase = Phase.OVER
            self._emit([Finished(self._reason)])

    def _acknowledge_own_start(self) -> None:
        if self.phase is Phase.BEGINNING:
            self.phase = Phase.UP
            self._emit([Started()])

    def _report(self, kind: ReportKind, child: Child, *, even_normal: bool = False) -> None:
        if even_normal or not child.last_reason.is_normal:
            detail = f"incarnation {child.incarnation}, {child.loop.length} bad starts in a row"
            self._emit([Report(kind, child.id, child.last_reason, detail)])

    def _emit(self, effects: Iterable[Effect]) -> None:
        self._effects.extend(effects)
