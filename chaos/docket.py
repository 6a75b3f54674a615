"""Core: the evidence of one run sorted by task: what every source says of it, in one place.

- a **run** is one execution of the task's function, as the task itself wrote it (its token ties a stored outcome to it);
- a **hold** is the time between a claim and the move that ended it, as the record has it: who had the task in hand;
- a **sighting** is a read that was answered, with the moment at which it was asked.

Sources are never mixed here: ``runs`` are the witness's word alone, ``holds`` the record's, ``sightings`` and ``ends`` the client's.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from regrow.chaos.evidence import Evidence, Strike
from regrow.chaos.history import ChildMove, Mark, Op, TaskMove
from regrow.chaos.kinds import KINDS, Kind

COMPLETED: Final = "COMPLETED"
FAILED: Final = "FAILED"
ENDED: Final = frozenset({COMPLETED, FAILED})
GONE: Final = frozenset({"unknown_task", "not_found", "http_404"})  # problems of a read: there is no such task any more
LEAVES: Final = frozenset(
    {"succeed", "fail", "give_up", "cancel", "expire", "retry", "crash", "oom", "lose_worker", "give_back"}
)
LOSSES: Final = frozenset({"crash", "lose_worker", "oom", "give_up"})  # moves by which an attempt was lost
AGAIN: Final = frozenset({"crash", "lose_worker", "oom", "give_back", "retry"})  # moves that lead back to QUEUED
LAST: Final = frozenset({"succeed", "fail", "give_up", "cancel", "expire"})  # moves that end a task
ORDINARY: Final = Kind("not of our table")


class Run(msgspec.Struct):
    """One execution.  ``ended``: it came to its end, or was about to raise (``has_raised``)."""

    token: str
    pid: int
    started: float
    ended: float | None = None
    has_raised: bool = False
    has_started: bool = False

    def is_under_way(self, at: float) -> bool:
        """Whether it may be running at that moment."""
        return self.started <= at and (self.ended is None or self.ended >= at)


class Hold(msgspec.Struct):
    """One claim.  ``released`` None: the record has no end of it; ``by`` is the move that ended it."""

    number: int
    attempt: int
    worker: str  # its name: "worker-0"
    claimed: float
    released: float | None = None
    by: str = ""


class Sighting(msgspec.Struct, frozen=True):
    """A read that was answered."""

    asked: float
    op: Op


@dataclass(slots=True)
class Case:
    """One task, by the workload's number."""

    number: int
    kind: str = ""
    ops: list[Op] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    moves: list[TaskMove] = field(default_factory=list)
    runs: dict[str, Run] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)  # that submits were answered with, each once
    invoked: float | None = None  # first submit
    acknowledged: float | None = None
    rejected: str = ""  # why, of the last submit that was
    submits_unknown: int = 0  # begun, and nobody knows
    final: Op | None = None  # the last word of the last reads
    life: tuple[float, float] = (0.0, 0.0)  # of one without holds: from the first to the last that is known of its runs

    @property
    def terms(self) -> Kind:
        """What its kind is meant to do."""
        return KINDS.get(self.kind, ORDINARY)

    @property
    def ends(self) -> list[Sighting]:
        """The sightings of it ended, in order."""
        return [seen for seen in self.sightings if seen.op.status in ENDED]

    @property
    def end(self) -> Op | None:
        """How it ended, by the last read that saw it."""
        return next((seen.op for seen in reversed(self.sightings) if seen.op.status in ENDED), None)

    @property
    def starts(self) -> list[Run]:
        """Executions that have begun, in order."""
        return sorted((run for run in self.runs.values() if run.has_started), key=lambda run: run.started)

    @property
    def is_certain_rejection(self) -> bool:
        """Whether every submit of it was refused."""
        return self.acknowledged is None and not self.submits_unknown

    @property
    def subject(self) -> str:
        """How it is called in a report."""
        name = f"task {self.number}" + (f" ({self.kind})" if self.kind else "")
        return f"{name} {self.ids[0]}" if self.ids else name


@dataclass(slots=True)
class Docket:
    """All cases, what belongs to no case, and what was done to the tree."""

    evidence: Evidence
    cases: dict[int, Case] = field(default_factory=dict)
    by_id: dict[str, Case] = field(default_factory=dict)
    strangers: dict[str, list[TaskMove]] = field(default_factory=dict)  # moves of ids that no submit was answered with
    children: list[ChildMove] = field(default_factory=list)  # in order of time
    strikes: list[Strike] = field(default_factory=list)  # those that were applied, in order of time

    @classmethod
    def of(cls, evidence: Evidence) -> "Docket":
        """Sort it."""
        docket = cls(evidence)
        docket.strikes = sorted(
            (strike for strike in evidence.strikes if strike.applied_at is not None),
            key=lambda it: it.applied_at or 0.0,
        )
        docket._sort_ops(sorted(evidence.ops, key=lambda op: op.at))
        docket._sort_marks(sorted(evidence.marks, key=lambda mark: mark.at))
        docket._sort_moves()
        for case in docket.cases.values():
            case.holds = _holds(case)
            if not case.holds:
                case.life = _life(case)
        return docket

    @property
    def acknowledged(self) -> Iterator[Case]:
        """The tasks whose id was given out."""
        return (case for case in self.cases.values() if case.acknowledged is not None)

    @property
    def has_marks(self) -> bool:
        """Whether the tasks' own witness is there."""
        return bool(self.evidence.marks)

    @property
    def has_record(self) -> bool:
        """Whether the tree's record of tasks is there, and whole."""
        return self.evidence.record_is_whole and any(isinstance(move, TaskMove) for move in self.evidence.moves)

    def _case(self, number: int) -> Case:
        case = self.cases.get(number)
        if case is None:
            case = self.cases[number] = Case(number)
        return case

    def _sort_ops(self, ops: Iterable[Op]) -> None:
        asked: dict[int, float] = {}
        for op in ops:
            case = self._case(op.number)
            case.ops.append(op)
            case.kind = case.kind or op.kind
            if op.type == "invoke":
                asked[op.call] = op.at
            if op.action == "submit":
                self._submit(case, op)
            else:
                _read(case, op, asked)

    def _submit(self, case: Case, op: Op) -> None:
        match op.type:
            case "invoke":
                case.invoked = op.at if case.invoked is None else case.invoked
                case.submits_unknown += 1
            case "ok":
                case.submits_unknown -= 1
                case.acknowledged = op.at if case.acknowledged is None else case.acknowledged
                if op.task_id not in case.ids:
                    case.ids.append(op.task_id)
                self.by_id.setdefault(op.task_id, case)
            case "fail":
                case.submits_unknown -= 1
                case.rejected = op.problem or "unnamed"
            case "info":
                pass  # it stays unknown

    def _sort_marks(self, marks: Iterable[Mark]) -> None:
        for mark in marks:
            case = self._case(mark.number)
            case.marks.append(mark)
            run = case.runs.get(mark.run)
            if run is None:
                run = case.runs[mark.run] = Run(mark.run, mark.pid, mark.at)
            if mark.word == "start":
                run.has_started = True
            else:
                run.ended, run.has_raised = mark.at, run.has_raised or mark.word == "raise"

    def _sort_moves(self) -> None:
        for move in self.evidence.moves:
            if isinstance(move, ChildMove):
                self.children.append(move)
            elif (case := self.by_id.get(move.task_id)) is not None:
                case.moves.append(move)
            else:
                self.strangers.setdefault(move.task_id, []).append(move)
        self.children.sort(key=lambda move: move.at)


def name_of(worker: str) -> str:
    """``worker-0@host/3f9c21aa`` is an incarnation of ``worker-0``."""
    return worker.partition("@")[0]


def _life(case: Case) -> tuple[float, float]:
    """In which a fault can have hit a task that the record does not tell of: between its marks, or else its calls."""
    times = [mark.at for mark in case.marks] or [op.at for op in case.ops]
    return times[0], times[-1]


def is_decisive(read: Op) -> bool:
    """Whether a last read tells where its task stands: an answer, or that there is no such task."""
    return read.type == "ok" or (read.type == "fail" and read.problem in GONE)


def _read(case: Case, op: Op, asked: dict[int, float]) -> None:
    if op.type == "ok":
        case.sightings.append(Sighting(asked.get(op.call, op.at), op))
    if op.action == "final" and op.type != "invoke" and (case.final is None or is_decisive(op)):
        case.final = op


def _holds(case: Case) -> list[Hold]:
    """In the order of the record."""
    holds: list[Hold] = []
    current: Hold | None = None
    for move in case.moves:
        if move.move == "claim":
            if current is not None and current.released is None:
                current.released = move.at
            current = Hold(case.number, move.attempt, name_of(move.worker), move.at)
            holds.append(current)
        elif move.move in LEAVES and current is not None and current.released is None:
            current.released, current.by = move.at, move.move
    return holds
