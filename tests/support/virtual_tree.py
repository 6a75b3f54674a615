"""A supervision core with processes that exist on paper only, under a clock that moves when a test says so.

It carries out effects at once and holds the core to what must be true whatever happens: see ``_obey``.
"""

from collections import Counter
from collections.abc import Callable

from regrow.runtime.spec import ChildSpec, ChildState, ExitReason, ReasonKind, Restart, Strategy, SupervisorSpec
from regrow.runtime.stimuli import (
    Announce,
    Answered,
    AskToStop,
    Begin,
    Effect,
    Exited,
    Finished,
    Kill,
    Operation,
    Overdue,
    Ready,
    Report,
    ReportKind,
    Resize,
    Spawn,
    StartChild,
    Started,
    Stimulus,
    StopRequested,
    TerminateChild,
    Tick,
)
from regrow.runtime.supervision import Supervision

CRASH = ExitReason(ReasonKind.EXIT, "1")
KILLED = ExitReason(ReasonKind.SIGNAL, "SIGKILL")
NORMAL = ExitReason(ReasonKind.NORMAL)
SHUTDOWN = ExitReason(ReasonKind.SHUTDOWN)


def child(name: str, **fields: object) -> ChildSpec:
    """A child spec of which only the id and what is given matters."""
    return ChildSpec(name, "support.nothing:Nothing", **fields)  # type: ignore[arg-type]


class BrokenPromise(AssertionError):
    """The core did what it must never do."""


class VirtualTree:
    """The world of one supervisor."""

    def __init__(self, spec: SupervisorSpec, jitter: Callable[[], float] = lambda: 0.5) -> None:
        self.spec = spec
        self.core = Supervision(spec, jitter)
        self.now = 100.0
        self.log: list[Effect] = []
        self.live: dict[str, int] = {}  # child -> incarnation of its process
        self.ready: set[str] = set()
        self.doomed: dict[str, ExitReason] = {}  # asked or killed, and how it will end
        self.fenced: set[str] = set()  # killed for silence or slowness
        self.broken: set[str] = set()  # children whose starts fail
        self.tickets: Counter[int] = Counter()
        self.asked_tickets: set[int] = set()
        self.spawned: Counter[str] = Counter()
        self.startable: Counter[str] = Counter()  # how often a temporary child may be started
        self.ends: Counter[tuple[str, int]] = Counter()
        self.is_ending = False
        self.finished: ExitReason | None = None
        for view in self.core.children():
            self.startable[view.id] += 1

    # ---- what a test makes happen ----

    def feed(self, stimulus: Stimulus) -> list[str]:
        """Fold one stimulus, carry out its effects, and tell them as a story."""
        self._expect(stimulus)
        effects = self.core.fold(stimulus, self.now)
        for effect in effects:
            self._obey(stimulus, effect)
        self.log += effects
        return story(effects)

    def begin(self) -> list[str]:
        """Begin, with every initial child becoming ready in its turn."""
        told = self.feed(Begin())
        return told + self.settle()

    def becomes_ready(self, name: str) -> list[str]:
        self.ready.add(name)
        return self.feed(Ready(name, self.live[name]))

    def dies(self, name: str, reason: ExitReason = CRASH) -> list[str]:
        """Its process is gone, by itself unless it was asked or killed before."""
        incarnation = self.live.pop(name)
        self.ready.discard(name)
        self.fenced.discard(name)
        was_doomed = self.doomed.pop(name, None)
        return self.feed(Exited(name, incarnation, was_doomed or reason))

    def is_silent(self, name: str) -> list[str]:
        return self.feed(Overdue(name, self.live[name]))

    def stop(self) -> list[str]:
        return self.feed(StopRequested(SHUTDOWN))

    def wait(self, seconds: float) -> list[str]:
        """Let time pass, with a Tick at each deadline on the way."""
        until = self.now + seconds
        told: list[str] = []
        while (deadline := self.core.next_deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            told += self.feed(Tick())
        self.now = until
        return told

    def settle(self, steps: int = 500) -> list[str]:
        """Everybody does what is expected of them, without any time passing, until nothing moves any more."""
        told: list[str] = []
        for _ in range(steps):
            starting = [name for name in self.live if name not in self.ready and name not in self.doomed]
            if self.doomed:
                told += self.dies(next(iter(self.doomed)))
            elif starting and starting[0] in self.broken:
                told += self.dies(starting[0])
            elif starting:
                told += self.becomes_ready(starting[0])
            else:
                return told
        raise BrokenPromise(f"does not come to rest: {told[-20:]}")

    def run(self, steps: int = 100) -> list[str]:
        """Settle, and let time pass to each deadline, until nothing is due any more."""
        told = self.settle()
        for _ in range(steps):
            deadline = self.core.next_deadline()
            if deadline is None:
                return told
            told += self.wait(max(0.0, deadline - self.now)) + self.settle()
        raise BrokenPromise(f"always something due: {told[-20:]}")

    # ---- what a test looks at ----

    def up(self) -> list[str]:
        """``name#incarnation`` of those that are ready and not ending."""
        return [
            f"{view.id}#{view.incarnation}" for view in self.core.children() if view.id in self.ready - set(self.doomed)
        ]

    def states(self) -> dict[str, ChildState]:
        return {view.id: view.state for view in self.core.children()}

    def reports(self) -> list[str]:
        """``kind child reason`` of each report so far."""
        return [f"{one.kind} {one.child} {one.reason}" for one in self.log if isinstance(one, Report)]

    def ends_of(self, name: str) -> list[str]:
        """The reasons with which its lives were announced to have ended."""
        return [str(one.reason) for one in self.log if isinstance(one, Announce) and one.child == name and one.reason]

    # ---- what must always be true ----

    def _expect(self, stimulus: Stimulus) -> None:
        match stimulus:
            case StopRequested():
                self.is_ending = True
            case StartChild(ticket=ticket, spec=spec):
                self.asked_tickets.add(ticket)
                self.startable[spec.id] += 1
            case Resize(ticket=ticket, size=size):
                self.asked_tickets.add(ticket)
                if self.spec.pool is not None:
                    self.startable.update(f"{self.spec.pool.id}-{number}" for number in range(size))
            case _ if isinstance(stimulus, Operation):
                self.asked_tickets.add(stimulus.ticket)

    def _obey(self, stimulus: Stimulus, effect: Effect) -> None:
        promise(self.finished is None or isinstance(effect, Answered), f"{effect} after the end")
        match effect:
            case Spawn(name, incarnation, spec):
                self._spawn(name, incarnation, spec)
            case AskToStop(name, incarnation):
                self._doom(name, incarnation, SHUTDOWN)
                self._keep_stop_order(name)
            case Kill(name, incarnation):
                was_unasked = name not in self.doomed
                self._doom(name, incarnation, KILLED)
                if not isinstance(stimulus, Overdue | Tick):
                    self._keep_stop_order(name)
                elif was_unasked:
                    self.fenced.add(name)
            case Announce(name, incarnation, ChildState.EXITED, reason) if reason is not None:
                self.ends[name, incarnation] += 1
                promise(self.ends[name, incarnation] == 1, f"two ends of {name}#{incarnation}")
            case Answered(ticket):
                self.tickets[ticket] += 1
                promise(self.tickets[ticket] == 1 and ticket in self.asked_tickets, f"ticket {ticket} answered again")
            case Report(ReportKind.MAX_INTENSITY | ReportKind.CRASH_LOOP):
                self.is_ending = True
            case Finished(reason):
                promise(not self.live, f"finished while {self.live} live")
                self.finished = reason
                self.is_ending = True

    def _spawn(self, name: str, incarnation: int, spec: ChildSpec) -> None:
        promise(name not in self.live, f"two lives of {name}")
        promise(not self.is_ending, f"{name} started after the end began")
        promise(spec.id == name, "wrong spec")
        self.spawned[name] += 1
        if spec.restart is Restart.TEMPORARY:
            promise(self.spawned[name] <= self.startable[name], f"temporary {name} started again")
        promise((name, incarnation) not in self.ends, f"incarnation {incarnation} of {name} used again")
        self._keep_start_order(name)
        self.live[name] = incarnation

    def _doom(self, name: str, incarnation: int, reason: ExitReason) -> None:
        promise(self.live.get(name) == incarnation, f"a signal for {name}#{incarnation}, which does not live")
        self.doomed[name] = reason

    def _keep_start_order(self, name: str) -> None:
        """A group is started from its beginning: nobody after ``name`` lives yet, nobody before it is starting still."""
        if self.spec.strategy is Strategy.ONE_FOR_ONE or isinstance(self.core.pending_operation, Operation):
            return
        order = [view.id for view in self.core.children()]
        place = order.index(name)
        promise(not self.live.keys() & set(order[place + 1 :]), f"{name} started before its successors were stopped")
        unready = self.live.keys() - self.ready
        promise(not unready & set(order[:place]), f"{name} started before {unready} were ready")

    def _keep_stop_order(self, name: str) -> None:
        """Whoever is stopped, the ones that started after it are gone already."""
        if self.spec.pool is not None or isinstance(self.core.pending_operation, TerminateChild):
            return
        order = [view.id for view in self.core.children()]
        after = self.live.keys() & set(order[order.index(name) + 1 :])
        promise(not after, f"{name} stopped before {after} were gone")


def promise(kept: bool, what: str) -> None:
    """Raise BrokenPromise unless ``kept``."""
    if not kept:
        raise BrokenPromise(what)


def story(effects: list[Effect]) -> list[str]:
    """Effects in short: ``spawn b#2``, ``ask c``, ``kill c``, ``started``, ``answered 7``, ``finished shutdown``."""
    told = (_word(effect) for effect in effects)
    return [word for word in told if word]


def _word(effect: Effect) -> str:
    match effect:
        case Spawn(name, incarnation):
            return f"spawn {name}#{incarnation}"
        case AskToStop(name):
            return f"ask {name}"
        case Kill(name):
            return f"kill {name}"
        case Started():
            return "started"
        case Answered(ticket, error):
            return f"answered {ticket}" + (f" {error}" if error else "")
        case Finished(reason):
            return f"finished {reason}"
        case _:
            return ""
