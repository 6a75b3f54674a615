"""Core: which faults can have hit which tasks, and which were in hand at the moment of a fault.

Two questions, with different care:

- **May it have?** (``hits``) bounds how often a task may be started.  In doubt yes: a fault of the dispatcher, the store or a link may
  hit whatever is in hand while it lasts, and once more for each window of silence that it lasts.
- **Has it?** (``struck``) counts for coverage and for the times of recovery.  Only what was in hand at the moment itself: of a slot by
  the pid that the task wrote, of a worker by its name in the claim, of all else whatever was in hand anywhere.

Names of faults are read by their form, so that a new fault of a known family is judged without a change here.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from regrow.chaos.docket import LOSSES, Case, Docket, Hold
from regrow.chaos.evidence import Strike
from regrow.chaos.fault import Role

WINDOW_S: Final = 3.0  # of silence, after which a worker counts as lost
SLACK_S: Final = 0.25  # between a move and its entry in the record, clocks compared
SAME_S: Final = (
    0.05  # a loss that is on record this long before the fault that caused it: wall time is read in milliseconds
)
AFTER_S: Final = 3.5  # the last word before a silence, and the window
REVIVAL_S: Final = 5.0  # until a new dispatcher or store has taken up what was in hand
DRAIN_S: Final = 15.0  # of a worker that is asked to stop
UNSYNCED_S: Final = 2.0  # of acknowledged writes that "everysec" may lose when the store's process dies

HARMLESS_LINKS: Final = frozenset({"client-gateway", "gateway-store"})
HARMLESS: Final = ("start.", "task.", "version.")
SILENCES: Final = ("stop", "freeze", "stutter", "partition", "net.", "zmq.", "frame.", "msg.", "cpu.")
AT_ONCE: Final = ("kill", "store.kill", "store.restart", "store.disconnect", "store.flush")
DAMAGING: Final = ("payload.", "disk.")  # may change a task's record, or take it out of its queue or its lease
DRAINS: Final = frozenset({"term", "int"})


class Reach(StrEnum):
    """Whom a fault can touch."""

    WORKER = "worker"  # what one worker has in hand
    TREE = "tree"  # whatever is in hand
    NOTHING = "nothing"  # no task in hand


def reach(strike: Strike) -> Reach:
    """Of this one."""
    role = strike.victim.role if strike.victim else ""
    if role == Role.GATEWAY or strike.options.get("link") in HARMLESS_LINKS or strike.fault.startswith(HARMLESS):
        return Reach.NOTHING
    return Reach.WORKER if strike.worker else Reach.TREE


def is_silence(strike: Strike) -> bool:
    """Whether it makes somebody silent who may live on."""
    return strike.fault.startswith(SILENCES)


def is_kill(fault: str) -> bool:
    """Whether it is over at once."""
    return fault.startswith(AT_ONCE)


def is_store_crash(strike: Strike) -> bool:
    """Whether the store's process died by it; one that is stopped for too long is killed."""
    is_above = strike.victim is not None and strike.victim.role in (Role.STORE, Role.ROOT)
    return strike.fault.startswith(("store.kill", "store.restart", "store.stop")) or (
        is_above and strike.fault.startswith("kill")
    )


def label(fault: str, role: str = "", link: str = "") -> str:
    """How a kind of fault is called in coverage: with whom it hits."""
    return " ".join(word for word in (fault, link or role) if word)


def label_of(strike: Strike) -> str:
    """How this one is called."""
    return label(strike.fault, strike.victim.role if strike.victim else "", str(strike.options.get("link", "")))


class Blow(NamedTuple):
    """A strike as it may have hit tasks: in that time, in the hands of that worker ("": of any), so many ``times`` at most."""

    since: float
    until: float
    worker: str
    times: int
    is_silent: bool
    at: float = 0.0
    pid: int = 0

    def may_have_hit(self, case: Case) -> bool:
        """By the record, or because the task itself says that it was running in the process that was hit."""
        if not case.holds:
            return case.life[0] <= self.until and case.life[1] >= self.since
        return any(
            hold.claimed <= self.until
            and (hold.released is None or hold.released >= self.since)
            and self.worker in ("", hold.worker)
            for hold in case.holds
        ) or (self.pid != 0 and any(run.pid == self.pid and run.is_under_way(self.at) for run in case.runs.values()))


@dataclass(slots=True)
class Impact:
    """The faults of one run against its tasks."""

    docket: Docket
    struck: list[tuple[Strike, list[Hold]]] = field(default_factory=list)
    crashes: list[float] = field(default_factory=list)  # of the store, that may have cost the last writes
    is_store_damaged: bool = False  # by such a crash or otherwise: what is stored need not fit together
    _blows: list[Blow] = field(default_factory=list)
    _disturbances: list[tuple[Strike, float, float]] = field(default_factory=list)
    _hits: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, docket: Docket) -> "Impact":
        """Compare them."""
        impact = cls(docket)
        if docket.evidence.experiment.configuration.durability == "everysec":
            impact.crashes = [strike.applied_at or 0.0 for strike in docket.strikes if is_store_crash(strike)]
        impact.is_store_damaged = bool(impact.crashes) or any(it.fault.startswith(DAMAGING) for it in docket.strikes)
        impact._blows = [impact._blow(it) for it in docket.strikes if reach(it) is not Reach.NOTHING]
        impact._blows += [
            Blow(move.at - SLACK_S, move.at + REVIVAL_S, "", 1, is_silent=False)
            for move in docket.children
            if move.event == "supervisor.gave_up"  # then everything below it starts anew
        ]
        impact._disturbances = [(it, *impact.span(it)) for it in docket.strikes if reach(it) is Reach.TREE]
        impact.struck = list(_struck(docket))
        return impact

    def is_unsynced(self, at: float, window_s: float = UNSYNCED_S) -> bool:
        """Whether what was heard of at that moment may be gone, by the durability that was chosen: a word may arrive after the crash."""
        return any(-SLACK_S <= crash - at <= window_s for crash in self.crashes)

    def hits(self, case: Case) -> int:
        """How often, at most, an attempt of the task may have been lost by a fault."""
        known = self._hits.get(case.number)
        if known is None:
            known = self._hits[case.number] = sum(blow.times for blow in self._blows if blow.may_have_hit(case))
        return known

    def by_silence(self, case: Case) -> bool:
        """Whether somebody who had it in hand may have lived on unheard."""
        return any(blow.is_silent and blow.may_have_hit(case) for blow in self._blows)

    def span(self, strike: Strike) -> tuple[float, float]:
        """The time in which it can touch a task."""
        at = strike.applied_at or 0.0
        since = at - SLACK_S - (UNSYNCED_S if at in self.crashes else 0.0)
        if is_kill(strike.fault):
            return since, at + (SLACK_S if reach(strike) is Reach.WORKER else REVIVAL_S)
        after_s = DRAIN_S if strike.fault in DRAINS else AFTER_S + SLACK_S
        return since, self.over(strike) + after_s

    def over(self, strike: Strike) -> float:
        """When it was undone; at once, where there was nothing to undo."""
        at = strike.applied_at or 0.0
        if is_kill(strike.fault) or strike.fault in DRAINS:
            return at
        if strike.undone_at is None:
            return self.docket.evidence.finished if is_silence(strike) else at
        return strike.undone_at

    def took(self, strike: Strike, hold: Hold) -> bool:
        """Whether the hold was lost by this fault, and not by a later one: who is silent no more has lost nothing by silence."""
        if hold.by not in LOSSES or hold.released is None:
            return False
        if is_kill(strike.fault) and reach(strike) is Reach.WORKER:
            return True
        return hold.released <= (self.over(strike) + SLACK_S if is_silence(strike) else self.span(strike)[1])

    def is_disturbed(self, since: float, until: float, but: Strike) -> bool:
        """Whether a fault of what all tasks depend on fell into that time."""
        return any(it is not but and begun <= until and over >= since for it, begun, over in self._disturbances)

    def _blow(self, strike: Strike) -> Blow:
        at = strike.applied_at or 0.0
        times = 1 + int((self.over(strike) - at) / WINDOW_S)  # once, and again for each window of silence that it lasts
        worker = strike.worker if reach(strike) is Reach.WORKER else ""
        return Blow(
            *self.span(strike), worker, times, is_silence(strike), at, strike.victim.pid if strike.victim else 0
        )


def _struck(docket: Docket) -> Iterator[tuple[Strike, list[Hold]]]:
    """Every applied strike with what was in hand at that moment: one sweep over both, in order of time."""
    holds = sorted((hold for case in docket.cases.values() for hold in case.holds), key=lambda hold: hold.claimed)
    running = _runs_by_pid(docket)
    active: dict[int, Hold] = {}
    ends: list[tuple[float, int]] = []
    place = 0
    for strike in docket.strikes:
        at = strike.applied_at or 0.0
        while place < len(holds) and holds[place].claimed <= at:
            released = holds[place].released
            active[place] = holds[place]
            if released is not None:
                heapq.heappush(ends, (released, place))
            place += 1
        while ends and ends[0][0] < at - SAME_S:
            del active[heapq.heappop(ends)[1]]
        yield strike, [hold for hold in active.values() if _is_in_hand(hold, strike, at, running)]


def _is_in_hand(hold: Hold, strike: Strike, at: float, running: dict[int, list[tuple[float, float, int]]]) -> bool:
    if hold.released is not None and hold.released < at and hold.by not in LOSSES:
        return False
    if reach(strike) is not Reach.WORKER:
        return True
    if strike.victim is not None and strike.victim.role == Role.SLOT:
        spells = running.get(strike.victim.pid, [])
        return any(number == hold.number and since <= at <= until for since, until, number in spells)
    return hold.worker == strike.worker


def _runs_by_pid(docket: Docket) -> dict[int, list[tuple[float, float, int]]]:
    """What the processes that were hit have run: from, until (a process does one thing after another), and which task."""
    pids = {strike.victim.pid for strike in docket.strikes if strike.victim is not None}
    found: dict[int, list[tuple[float, float, int]]] = defaultdict(list)
    for case in docket.cases.values():
        for run in case.runs.values():
            if run.pid in pids:
                found[run.pid].append((run.started, run.ended or float("inf"), case.number))
    return found
