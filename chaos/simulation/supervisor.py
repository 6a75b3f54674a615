"""Core: a supervisor's process on paper: the real ``Supervision`` and ``Liveness`` in a model of ``runtime/supervisor.py``; and the
monitors that its exchange keeps.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from regrow.chaos.simulation.chance import Chance
from regrow.chaos.simulation.clock import Clock
from regrow.chaos.simulation.pace import SETTLE_S
from regrow.chaos.simulation.process import KILLED, Process
from regrow.runtime import stimuli
from regrow.runtime.liveness import Liveness
from regrow.runtime.spec import ChildSpec, ChildState, ExitReason, ReasonKind, SupervisorSpec
from regrow.runtime.supervision import Supervision

TRIP_S = 0.0002  # of a letter on a control link
Told = Callable[[ExitReason], None]
NO_PROCESS = ExitReason(ReasonKind.NO_PROCESS)


class Life(NamedTuple):
    """One incarnation of a child, as long as it has a process."""

    process: Process
    incarnation: int
    spec: ChildSpec


Spawn = Callable[["SupervisorProcess", ChildSpec, int], Process]
Ask = Callable[[Process, float | None], None]


class SupervisorProcess(Process):
    """One incarnation of a supervisor.  ``spawn`` makes the processes of its children, ``ask`` has one stop."""

    def __init__(self, clock: Clock, name: str, spec: SupervisorSpec, spawn: Spawn, ask: Ask, dice: Chance) -> None:
        super().__init__(clock, name)
        self.core = Supervision(spec, dice.random)
        self.lives: dict[str, Life] = {}
        self.ready: Callable[[], None] = lambda: None  # tell the parent that all are ready
        self.beat: Callable[[], None] = lambda: None  # and that this lives
        self.saw: Callable[[str], None] = lambda what: None  # noqa: ARG005
        self._spawn_process = spawn
        self._ask = ask
        self._liveness = Liveness()
        self._stimuli: deque[stimuli.Stimulus] = deque()
        self._is_folding = False
        self._timer_at: float | None = None
        self._quiet_until = 0.0
        self._monitors: dict[str, dict[object, Told]] = {}

    def begin(self) -> None:
        """Its init."""
        self._feed(stimuli.Begin())
        self._beat()

    def has_seen_ready(self, process: Process) -> bool:
        """Whether it is a child that has told of its readiness."""
        running = {view.id for view in self.core.children() if view.state is ChildState.RUNNING}
        return any(life.process is process and child in running for child, life in self.lives.items())

    def on_gap(self, gap_s: float) -> None:  # noqa: ARG002
        self._liveness.excuse(self.clock.now)
        self._quiet_until = self.clock.now + SETTLE_S

    def on_end(self) -> None:
        self.below = [life.process for life in self.lives.values()]

    def stop(self) -> None:
        """It is asked to end."""
        self._feed(stimuli.StopRequested(ExitReason(ReasonKind.SHUTDOWN)))

    def resize(self, size: int) -> None:
        """An operator wants another size of a pool."""
        self._feed(stimuli.Resize(0, size))

    # What children say, as heard here.

    def sign(self, child: str, incarnation: int, stimulus: stimuli.Stimulus | None = None) -> None:
        """A living child is heard; what it says besides that it lives."""
        self.hear(partial(self._take_sign, child, incarnation, stimulus))

    def monitor(self, child: str, key: object, told: Told) -> None:
        """Tell of the end of this child's present life."""
        if child not in self.lives:
            told(NO_PROCESS)
        else:
            self._monitors.setdefault(child, {})[key] = told

    def demonitor(self, key: object) -> None:
        """Do not."""
        for waiting in self._monitors.values():
            waiting.pop(key, None)

    def bereave(self, reason: ExitReason) -> None:
        """This supervisor has ended, and with it all below: its parent tells whoever waits for the end of any."""
        for waiting in self._monitors.values():
            for told in waiting.values():
                told(reason)
        self._monitors.clear()

    def _take_sign(self, child: str, incarnation: int, stimulus: stimuli.Stimulus | None) -> None:
        life = self.lives.get(child)
        if life is None or life.incarnation != incarnation:
            return
        self._liveness.beat(child, self.clock.now)
        if stimulus is not None:
            self._feed(stimulus)

    def _take_end(self, child: str, incarnation: int, reason: ExitReason) -> None:
        life = self.lives.get(child)
        if life is None or life.incarnation != incarnation:
            return
        del self.lives[child]
        self._liveness.forget(child)
        self._feed(stimuli.Exited(child, incarnation, reason))

    def _feed(self, stimulus: stimuli.Stimulus) -> None:
        self._stimuli.append(stimulus)
        if self._is_folding:
            return
        self._is_folding = True
        while self._stimuli and self.is_alive:
            for effect in self.core.fold(self._stimuli.popleft(), self.clock.now):
                self._carry_out(effect)
        self._is_folding = False
        self._arm()

    def _carry_out(self, effect: stimuli.Effect) -> None:
        match effect:
            case stimuli.Spawn(child, incarnation, spec):
                process = self._spawn_process(self, spec, incarnation)
                self.lives[child] = Life(process, incarnation, spec)
                self._liveness.watch(child, None, self.clock.now)
                process.mourners.append(partial(self._mourn, child, incarnation))
            case stimuli.AskToStop(child):
                process, _, spec = self.lives[child]
                self.clock.after(TRIP_S, partial(process.hear, partial(self._ask, process, spec.shutdown_s)))
            case stimuli.Kill(child):
                self.saw("supervisor kills")
                if child in self.lives:
                    self.lives[child].process.end(KILLED)
            case stimuli.Announce(child, _, state, reason):
                if reason is not None:
                    for told in self._monitors.pop(child, {}).values():
                        told(reason)
                elif state is ChildState.RUNNING and child in self.lives:
                    self._liveness.watch(child, self.lives[child].spec.heartbeat, self.clock.now)
            case stimuli.Report(kind):
                self.saw(f"report {kind}")
            case stimuli.Started():
                self.ready()
            case stimuli.Finished(reason):
                self.after(0.0, partial(self.end, reason))
            case stimuli.Answered() | stimuli.Respecified():
                pass

    def _mourn(self, child: str, incarnation: int, reason: ExitReason) -> None:
        self.clock.after(TRIP_S, lambda: self.hear(partial(self._take_end, child, incarnation, reason)))

    def _arm(self) -> None:
        deadlines = (self.core.next_deadline(), self._liveness.next_deadline())
        due = min((at for at in deadlines if at is not None), default=None)
        if due is None or (self._timer_at is not None and self._timer_at <= due):
            return
        self._timer_at = max(due, self.clock.now)
        self.after(self._timer_at - self.clock.now, partial(self._judge, self._timer_at))

    def _judge(self, timer_at: float) -> None:
        if self._timer_at != timer_at:
            return
        self._timer_at = None
        now = self.clock.now
        if now < self._quiet_until:
            self._timer_at = self._quiet_until
            self.after(self._quiet_until - now, partial(self._judge, self._quiet_until))
            return
        for child in self._liveness.overdue(now):
            self.saw("child overdue")
            self._feed(stimuli.Overdue(child, self.lives[child].incarnation))
        self._feed(stimuli.Tick())

    def _beat(self) -> None:
        self.beat()
        self.after(1.0, self._beat)
