"""Violations to plant into evidence that has none: one each, with what a checker must say of it.

A plant is given evidence and a source of chance, and returns what it made of it, or None where this evidence has no place for it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from msgspec.structs import replace

from regrow.chaos.docket import LAST, Case, Docket
from regrow.chaos.evidence import Evidence, Moment, Strike
from regrow.chaos.fault import Victim
from regrow.chaos.history import ChildMove, Mark, Op, TaskMove
from regrow.chaos.impact import AFTER_S, Impact

WALL = 1_700_000_000.0
RAISES = ["submit", "claim", "fail"]  # the moves of a task that raises, and nothing else happens to it


@dataclass
class Planted:
    """``subject`` is in the counter-example's, and ``at`` with ``source`` is a moment of its timeline (None: it has none)."""

    evidence: Evidence
    subject: str
    at: float | None = None
    source: str = ""


Plant = Callable[[Evidence, Random], Planted | None]


def _pick(evidence: Evidence, chance: Random, wanted: Callable[[Case], bool]) -> Case | None:
    found = [
        case
        for case in Docket.of(evidence).cases.values()
        if case.acknowledged is not None and case.end and wanted(case)
    ]
    return chance.choice(found) if found else None


def _completed(case: Case) -> bool:
    return case.end is not None and case.end.status == "COMPLETED"


def _ops(evidence: Evidence, number: int, change: Callable[[Op], Op | None]) -> tuple[Op, ...]:
    """Change, or drop, the answers to reads of one task."""
    kept = (
        (change(op) if op.number == number and op.action != "submit" and op.type == "ok" else op) for op in evidence.ops
    )
    return tuple(op for op in kept if op is not None)


def _both(evidence: Evidence, number: int, **new: Any) -> tuple[Op, ...]:
    """The same change in everything that was read of its end."""
    return _ops(evidence, number, lambda op: replace(op, **new) if op.digest else op)


def _final(evidence: Evidence, number: int, **new: Any) -> tuple[Op, ...]:
    return _ops(evidence, number, lambda op: replace(op, **new) if op.action == "final" else op)


def _insert(moves: Iterable[Any], new: Any) -> tuple[Any, ...]:
    return tuple(sorted([*moves, new], key=lambda move: move.at))


def _subject(case: Case) -> str:
    return f"task {case.number} "


def still_queued(evidence: Evidence, chance: Random) -> Planted | None:
    """Acknowledged, never taken, and nothing more is heard of it."""
    case = _pick(evidence, chance, lambda case: _completed(case) and len(case.starts) == 1)
    if case is None or case.final is None:
        return None
    ops = _ops(
        evidence, case.number, lambda op: replace(op, status="QUEUED", digest="", run="", value="", error_kind="")
    )
    moves = tuple(
        it
        for it in evidence.moves
        if not (isinstance(it, TaskMove) and it.task_id == case.ids[0] and it.move != "submit")
    )
    marks = tuple(mark for mark in evidence.marks if mark.number != case.number)
    changed = replace(evidence, ops=ops, moves=moves, marks=marks, settled_at=None)
    return Planted(changed, _subject(case), case.final.at, "client")


def gone_at_the_end(evidence: Evidence, chance: Random) -> Planted | None:
    case = _pick(evidence, chance, _completed)
    if case is None or case.final is None:
        return None
    gone: Any = {
        "type": "fail",
        "problem": "unknown_task",
        "status": "",
        "digest": "",
        "run": "",
        "value": "",
        "error_kind": "",
    }
    return Planted(
        replace(evidence, ops=_final(evidence, case.number, **gone)), _subject(case), case.final.at, "client"
    )


def run_of_nobody(evidence: Evidence, chance: Random) -> Planted | None:
    at = evidence.began + 1
    marks = Mark("start", 9999, "f" * 16, 77, at), Mark("end", 9999, "f" * 16, 77, at + 0.01)
    return Planted(replace(evidence, marks=(*evidence.marks, *marks)), "task 9999", at, "witness")


def run_after_refusal(evidence: Evidence, chance: Random) -> Planted | None:
    refused = [op for op in evidence.ops if op.action == "submit" and op.type == "fail"]
    if not refused:
        return None
    op = chance.choice(refused)
    mark = Mark("start", op.number, "f" * 16, 77, op.at + 0.01)
    return Planted(replace(evidence, marks=(*evidence.marks, mark)), f"task {op.number} ", mark.at, "witness")


def end_of_nobody(evidence: Evidence, chance: Random) -> Planted | None:
    """In the record, before the first submit, so that none without an answer explains it."""
    at, task_id = evidence.began - 1, "11111111-0000-4000-8000-000000000000"
    words = ("submit", 0, ""), ("claim", 1, "worker-0@host/1"), ("succeed", 1, "worker-0@host/1")
    moves = [
        TaskMove(at + n / 100, WALL + at, task_id, word, attempt, worker)
        for n, (word, attempt, worker) in enumerate(words)
    ]
    return Planted(replace(evidence, moves=(*moves, *evidence.moves)), task_id, at, "record")


def two_ids(evidence: Evidence, chance: Random) -> Planted | None:
    case = _pick(evidence, chance, _completed)
    if case is None or case.acknowledged is None:
        return None
    again = Op("invoke", case.acknowledged + 0.1, 10**9, "submit", case.number, case.kind)
    answer = replace(again, type="ok", at=again.at + 0.01, task_id="22222222-0000-4000-8000-000000000000")
    return Planted(replace(evidence, ops=(*evidence.ops, again, answer)), _subject(case), answer.at, "client")


def second_end(evidence: Evidence, chance: Random) -> Planted | None:
    case = _pick(evidence, chance, lambda case: bool(case.moves) and case.moves[-1].move in LAST)
    if case is None:
        return None
    again = replace(case.moves[-1], at=case.moves[-1].at + 0.5)
    return Planted(replace(evidence, moves=_insert(evidence.moves, again)), _subject(case), again.at, "record")


def two_states(evidence: Evidence, chance: Random) -> Planted | None:
    """Another state at the end, though with the same outcome."""
    case = _pick(
        evidence, chance, lambda case: case.terms.ends != "quarantined" and len(case.ends) > 1 and _completed(case)
    )
    if case is None or case.final is None:
        return None
    ops = _final(evidence, case.number, status="FAILED", error_kind="expired")
    return Planted(replace(evidence, ops=ops), _subject(case), case.final.at, "client")


def record_against_client(evidence: Evidence, chance: Random) -> Planted | None:
    """The record has it succeed, clients read that it expired."""
    case = _pick(evidence, chance, lambda case: case.terms.ends != "quarantined" and _completed(case))
    if case is None or case.end is None:
        return None
    ops = _both(evidence, case.number, status="FAILED", error_kind="expired", value="")
    return Planted(replace(evidence, ops=ops), _subject(case), case.end.at, "client")


def overwritten(evidence: Evidence, chance: Random) -> Planted | None:
    case = _pick(evidence, chance, lambda case: len(case.ends) > 1)
    if case is None or case.final is None:
        return None
    return Planted(
        replace(evidence, ops=_final(evidence, case.number, digest="0badc0de")), _subject(case), case.final.at, "client"
    )


def mixed_up(evidence: Evidence, chance: Random) -> Planted | None:
    """The value of the next task."""
    case = _pick(evidence, chance, lambda case: _completed(case) and case.kind == "noop")
    if case is None or case.end is None:
        return None
    return Planted(
        replace(evidence, ops=_both(evidence, case.number, value=str(case.number + 1))),
        _subject(case),
        case.end.at,
        "client",
    )


def returned_instead_of_raising(evidence: Evidence, chance: Random) -> Planted | None:
    case = _pick(
        evidence, chance, lambda case: case.kind == "raise" and case.end is not None and case.end.error_kind == "raised"
    )
    if case is None or case.end is None:
        return None
    run = case.end.run
    ops = _both(evidence, case.number, status="COMPLETED", error_kind="", value=str(case.number))
    marks = tuple(
        replace(mark, word="end") if mark.run == run and mark.word == "raise" else mark for mark in evidence.marks
    )
    moves = tuple(
        replace(move, move="succeed")
        if isinstance(move, TaskMove) and move.task_id == case.ids[0] and move.move == "fail"
        else move
        for move in evidence.moves
    )
    return Planted(replace(evidence, ops=ops, marks=marks, moves=moves), _subject(case), case.end.at, "client")


def without_an_end(evidence: Evidence, chance: Random) -> Planted | None:
    """COMPLETED by a run that never came to its end."""
    case = _pick(evidence, chance, _completed)
    if case is None or case.end is None:
        return None
    run = case.runs[case.end.run]
    marks = tuple(mark for mark in evidence.marks if not (mark.run == run.token and mark.word == "end"))
    return Planted(replace(evidence, marks=marks), _subject(case), run.started, "witness")


def by_another_run(evidence: Evidence, chance: Random) -> Planted | None:
    """An outcome that a run of another task made."""
    case = _pick(evidence, chance, _completed)
    other = _pick(evidence, chance, _completed)
    if case is None or other is None or case.end is None or other.end is None or case.number == other.number:
        return None
    return Planted(
        replace(evidence, ops=_both(evidence, case.number, run=other.end.run)), _subject(case), case.end.at, "client"
    )


def by_a_former_run(evidence: Evidence, chance: Random) -> Planted | None:
    """The run of the attempt that was taken away had come to its end, and its outcome was stored when the next one was under way."""
    case = _pick(
        evidence,
        chance,
        lambda case: (
            _completed(case)
            and len(case.starts) == len(case.holds) == 2
            and case.starts[0].ended is None
            and case.starts[0].started < case.holds[1].claimed - 0.3
        ),
    )
    if case is None or case.end is None:
        return None
    first = case.starts[0]
    marks = (*evidence.marks, Mark("end", case.number, first.token, first.pid, first.started + 0.001))
    ops = _both(evidence, case.number, run=first.token)
    return Planted(replace(evidence, marks=marks, ops=ops), _subject(case), case.end.at, "client")


def without_raising(evidence: Evidence, chance: Random) -> Planted | None:
    case = _pick(evidence, chance, lambda case: case.end is not None and case.end.error_kind == "raised")
    if case is None:
        return None
    marks = tuple(mark for mark in evidence.marks if not (mark.number == case.number and mark.word == "raise"))
    return Planted(replace(evidence, marks=marks), _subject(case), case.starts[0].started, "witness")


def quarantined_for_nothing(evidence: Evidence, chance: Random) -> Planted | None:
    """A harmless task that no fault has hit."""
    return _fails_after_all(evidence, chance, "give_up", "quarantined")


def damaged_by_nobody(evidence: Evidence, chance: Random) -> Planted | None:
    """Its record does not fit together, and no fault damages records."""
    return _fails_after_all(evidence, chance, "fail", "corrupt_payload")


def _fails_after_all(evidence: Evidence, chance: Random, ending: str, kind: str) -> Planted | None:
    """One that had completed, and that no fault has hit."""
    impact = Impact.of(Docket.of(evidence))
    case = _pick(evidence, chance, lambda case: _completed(case) and impact.hits(case) == 0)
    if case is None or case.end is None:
        return None
    ops = _both(evidence, case.number, status="FAILED", error_kind=kind, value="")
    moves = tuple(
        replace(move, move=ending, why=kind)
        if isinstance(move, TaskMove) and move.task_id == case.ids[0] and move.move == "succeed"
        else move
        for move in evidence.moves
    )
    return Planted(replace(evidence, ops=ops, moves=moves), _subject(case), case.end.at, "client")


def started_for_nothing(evidence: Evidence, chance: Random) -> Planted | None:
    """More often than all faults together explain, one after another."""
    case = _pick(
        evidence, chance, lambda case: _completed(case) and case.terms.max_attempts != 1 and len(case.starts) == 1
    )
    if case is None:
        return None
    last = case.starts[-1].ended or 0.0
    explained = sum(
        1 + int(((it.undone_at or 0) - (it.applied_at or 0)) / 3 if it.undone_at else 0) for it in evidence.strikes
    )
    marks = []
    for n in range(1, explained + 2):
        at = last + n / 100
        marks += [
            Mark("start", case.number, f"{n:016x}", 77, at),
            Mark("end", case.number, f"{n:016x}", 77, at + 0.001),
        ]
    return Planted(replace(evidence, marks=(*evidence.marks, *marks)), _subject(case), last + 0.01, "witness")


def started_twice_in_a_fault(evidence: Evidence, chance: Random) -> Planted | None:
    """A fault may have cost the task an attempt, and has not: it is started again under the one that it has."""
    impact = Impact.of(Docket.of(evidence))
    case = _pick(
        evidence,
        chance,
        lambda case: _completed(case) and case.kind == "noop" and len(case.holds) == 1 and impact.hits(case) > 0,
    )
    if case is None:
        return None
    at = (case.starts[0].ended or 0.0) + 0.01
    marks = [Mark(word, case.number, "d" * 16, 77, at + n / 1000) for n, word in enumerate(("start", "end"))]
    return Planted(replace(evidence, marks=(*evidence.marks, *marks)), _subject(case), at, "witness")


def started_while_running(evidence: Evidence, chance: Random) -> Planted | None:
    """The attempt that a kill took away did not end there: it came to its end when the next one was well under way."""
    case = _pick(
        evidence, chance, lambda case: len(case.starts) == 2 and case.starts[0].ended is None and _lasts(case) > 0.09
    )
    if case is None:
        return None
    first, second = case.starts
    at = second.started + 0.08
    marks = (*evidence.marks, Mark("end", case.number, first.token, first.pid, at))
    return Planted(replace(evidence, marks=marks), _subject(case), at, "witness")


def _lasts(case: Case) -> float:
    run = case.starts[-1]
    return (run.ended or run.started) - run.started


def twice_though_once(evidence: Evidence, chance: Random) -> Planted | None:
    """A task that must never start twice, and whose worker was killed, is started again."""
    case = _pick(
        evidence,
        chance,
        lambda case: case.kind == "once" and case.end is not None and case.end.error_kind == "worker_lost",
    )
    if case is None or case.end is None or len(case.starts) != 1:
        return None
    at = case.starts[0].started + 0.5
    marks = Mark("start", case.number, "e" * 16, 77, at), Mark("end", case.number, "e" * 16, 77, at + 0.1)
    return Planted(replace(evidence, marks=(*evidence.marks, *marks)), _subject(case), at, "witness")


def lost_while_queued(evidence: Evidence, chance: Random) -> Planted | None:
    """A move that the table does not have from there."""
    case = _pick(
        evidence,
        chance,
        lambda case: len(case.moves) > 1 and case.moves[0].move == "submit" and case.moves[1].move == "claim",
    )
    if case is None:
        return None
    first = case.moves[0]
    wrong = replace(first, move="crash", why="crashed", at=(first.at + case.moves[1].at) / 2)
    return Planted(replace(evidence, moves=_insert(evidence.moves, wrong)), _subject(case), wrong.at, "record")


def settled_by_a_former_attempt(evidence: Evidence, chance: Random) -> Planted | None:
    case = _pick(evidence, chance, lambda case: _completed(case) and case.moves[-1].attempt > 1)
    if case is None:
        return None
    last = case.moves[-1]
    moves = tuple(replace(last, attempt=last.attempt - 1) if move is last else move for move in evidence.moves)
    return Planted(replace(evidence, moves=moves), _subject(case), last.at, "record")


def given_back_though_started(evidence: Evidence, chance: Random) -> Planted | None:
    """The new dispatcher thinks that an attempt has never reached its worker."""
    case = _pick(
        evidence,
        chance,
        lambda case: (
            len(case.holds) > 1
            and case.holds[0].by == "lose_worker"
            and len(case.starts) == 2
            and case.starts[0].started < (case.holds[0].released or 0.0) - 0.06
        ),
    )
    if case is None:
        return None
    lost = next(move for move in case.moves if move.move == "lose_worker")
    moves = tuple(replace(move, move="give_back", why="") if move is lost else move for move in evidence.moves)
    return Planted(replace(evidence, moves=moves), _subject(case), lost.at, "record")


def found_by_a_search(evidence: Evidence, chance: Random) -> Planted | None:
    """It was queued, and in no queue."""
    case = _pick(evidence, chance, lambda case: len(case.moves) > 1 and case.moves[0].move == "submit")
    if case is None:
        return None
    at = (case.moves[0].at + case.moves[1].at) / 2
    found = replace(case.moves[0], move="found", at=at)
    return Planted(replace(evidence, moves=_insert(evidence.moves, found)), _subject(case), at, "record")


def revived(evidence: Evidence, chance: Random) -> Planted | None:
    """A client reads RUNNING after the end."""
    case = _pick(evidence, chance, lambda case: len(case.ends) > 1)
    if case is None:
        return None
    at = case.ends[0].op.at + 0.01
    asked = Op("invoke", at, 10**9, "read", case.number, case.kind, task_id=case.ids[0])
    answer = replace(asked, type="ok", at=at + 0.002, status="RUNNING")
    return Planted(replace(evidence, ops=(*evidence.ops, asked, answer)), _subject(case), answer.at, "client")


def _later(evidence: Evidence, case: Case, since: float, by_s: float) -> Evidence:
    """Everything of the task from that moment on comes later, and so does the end of the run."""

    def moved(at: float) -> float:
        return at + by_s if at >= since else at

    ops = tuple(
        replace(op, at=op.at + by_s)
        if op.action == "final"
        else replace(op, at=moved(op.at))
        if op.number == case.number and op.action == "read"
        else op
        for op in evidence.ops
    )
    marks = tuple(replace(mark, at=moved(mark.at)) if mark.number == case.number else mark for mark in evidence.marks)
    moves = [
        replace(move, at=moved(move.at)) if isinstance(move, TaskMove) and move.task_id == case.ids[0] else move
        for move in evidence.moves
    ]
    settled_at = (evidence.settled_at or evidence.ended) + by_s
    return replace(
        evidence,
        ops=ops,
        marks=marks,
        moves=tuple(sorted(moves, key=lambda move: move.at)),
        settled_at=settled_at,
        finished=evidence.finished + by_s + 1,
    )


def noticed_late(evidence: Evidence, chance: Random) -> Planted | None:
    """The death of its worker was told to the store four seconds late."""
    impact = Impact.of(Docket.of(evidence))
    cases = impact.docket.cases
    found = [
        (cases[hold.number], hold.released)
        for strike, holds in impact.struck
        for hold in holds
        if hold.by == "lose_worker"
        and hold.released
        and len(cases[hold.number].starts) == 2
        and cases[hold.number].acknowledged
    ]
    found = [(case, at) for case, at in found if case.starts[0].ended is None and impact.hits(case) == 1]
    if not found:
        return None
    case, at = chance.choice(found)
    return Planted(_later(evidence, case, at - 0.001, 4.0), _subject(case), at + 4.0, "record")


def left_alive(evidence: Evidence, chance: Random) -> Planted | None:
    """A worker is stopped for longer than the window, its tasks are taken away, and its supervisor lets it be."""
    impact = Impact.of(Docket.of(evidence))
    found = [
        strike
        for strike in impact.docket.strikes
        if strike.fault == "stop" and impact.over(strike) - (strike.last_beat_at or strike.applied_at or 0.0) > AFTER_S
    ]
    if len(found) != 1 or found[0].victim is None:
        return None
    path = found[0].victim.path
    moves = tuple(
        move
        for move in evidence.moves
        if not (isinstance(move, ChildMove) and move.path == path and move.event != "child.overdue")
    )
    return Planted(replace(evidence, moves=moves), path, found[0].applied_at, "nemesis")


def left_alive_while_another_drains(evidence: Evidence, chance: Random) -> Planted | None:
    """What is asked of the dispatcher keeps no supervisor of workers from noticing a silence."""
    planted = left_alive(evidence, chance)
    if planted is None or planted.at is None:
        return None
    at = planted.at - 1
    term = Strike(99, "term", {}, at, at, victim=Victim("root/dispatcher", "dispatcher", 4243, 1, 1))
    strikes = tuple(sorted([*planted.evidence.strikes, term], key=lambda strike: strike.planned_at))
    return Planted(replace(planted.evidence, strikes=strikes), planted.subject, planted.at, planted.source)


def acknowledged_too_early(evidence: Evidence, chance: Random) -> Planted | None:
    """A second before the store had it."""
    case = _pick(evidence, chance, lambda case: _completed(case) and bool(case.moves) and not case.terms.is_sent_twice)
    if case is None or case.acknowledged is None:
        return None
    ops = tuple(
        replace(op, at=op.at - 1) if op.number == case.number and op.action == "submit" else op for op in evidence.ops
    )
    ordered = tuple(sorted(ops, key=lambda op: op.at))
    return Planted(replace(evidence, ops=ordered), _subject(case), case.acknowledged - 1, "client")


def ended_too_late(evidence: Evidence, chance: Random) -> Planted | None:
    """Its end was first read long after the faults were over."""
    case = _pick(evidence, chance, _completed)
    if case is None or evidence.settled_at is None:
        return None
    at = evidence.ended + evidence.experiment.settle_s + 3
    ops = tuple(
        replace(op, at=at + (1 if op.action == "final" else 0))
        if op.number == case.number and op.action != "submit" and op.status == "COMPLETED"
        else op
        for op in evidence.ops
    )
    changed = replace(evidence, ops=ops, settled_at=at, finished=at + 2)
    return Planted(changed, _subject(case), at, "client")


def never_settled(evidence: Evidence, chance: Random) -> Planted | None:
    return Planted(replace(evidence, settled_at=None), "the run")


def starved(evidence: Evidence, chance: Random) -> Planted | None:
    """One of the first tasks is started twenty seconds after its turn."""
    case = _pick(evidence, chance, lambda case: _completed(case) and len(case.starts) == 1 and len(case.moves) == 3)
    if case is None or case.number > 10:
        return None
    since = case.moves[1].at
    return Planted(
        _later(evidence, case, since - 0.0001, 20.0), _subject(case), case.starts[0].started + 20.0, "witness"
    )


def quarantined_too_soon(evidence: Evidence, chance: Random) -> Planted | None:
    """Poison that ends at the first death of its slot."""
    impact = Impact.of(Docket.of(evidence))
    case = _pick(
        evidence,
        chance,
        lambda case: case.kind == "poison" and impact.hits(case) == 0 and case.end is not None and bool(case.moves),
    )
    if case is None or case.end is None or case.end.error_kind != "quarantined":
        return None
    first, last = case.starts[0], case.moves[-1]
    marks = tuple(mark for mark in evidence.marks if mark.number != case.number or mark.run == first.token)
    kept = {id(move) for move in case.moves[:2]}
    moves = tuple(
        replace(move, attempt=1) if move is last else move
        for move in evidence.moves
        if not isinstance(move, TaskMove) or move.task_id != case.ids[0] or move is last or id(move) in kept
    )
    return Planted(replace(evidence, marks=marks, moves=moves), _subject(case), case.end.at, "client")


def tried_again_unasked(evidence: Evidence, chance: Random) -> Planted | None:
    """A function without a retry policy raises, and is started again, by the record's own word."""
    impact = Impact.of(Docket.of(evidence))
    case = _pick(
        evidence,
        chance,
        lambda case: case.kind == "raise" and impact.hits(case) == 0 and [it.move for it in case.moves] == RAISES,
    )
    if case is None:
        return None
    claim, fail = case.moves[1:]
    at, step = fail.at, 0.0004
    again = (
        replace(fail, move="retry"),
        replace(claim, at=at + step, attempt=2),
        replace(fail, at=at + 3 * step, attempt=2),
    )
    moves = tuple(sorted([*(move for move in evidence.moves if move is not fail), *again], key=lambda move: move.at))
    pid = case.starts[0].pid
    marks = (
        Mark("start", case.number, "e" * 16, pid, at + 2 * step),
        Mark("raise", case.number, "e" * 16, pid, at + 2.5 * step),
    )
    return Planted(
        replace(evidence, moves=moves, marks=(*evidence.marks, *marks)), _subject(case), at + 2 * step, "witness"
    )


def not_quarantined(evidence: Evidence, chance: Random) -> Planted | None:
    case = _pick(
        evidence,
        chance,
        lambda case: case.kind == "poison" and case.end is not None and case.end.error_kind == "quarantined",
    )
    if case is None or case.end is None:
        return None
    return Planted(
        replace(evidence, ops=_both(evidence, case.number, error_kind="crashed")), _subject(case), case.end.at, "client"
    )


def _cancelled(evidence: Evidence, chance: Random, *, has_run: bool = False) -> Case | None:
    """A cancelled task that no fault has hit."""
    impact = Impact.of(Docket.of(evidence))
    return _pick(
        evidence,
        chance,
        lambda case: (
            case.end is not None
            and case.end.error_kind == "cancelled"
            and impact.hits(case) == 0
            and len(case.starts) >= has_run
        ),
    )


def cancelled_in_vain(evidence: Evidence, chance: Random) -> Planted | None:
    """Nothing comes of the cancel: the answer is how it runs, and it runs to its end."""
    case = _cancelled(evidence, chance, has_run=True)
    if case is None:
        return None
    run = case.starts[0]
    answer = next(op for op in case.ops if op.action == "cancel" and op.type == "ok")
    end = run.started + 3.0
    undone = {"status": "RUNNING", "error_kind": "", "digest": ""}
    done = {"status": "COMPLETED", "error_kind": "", "value": str(case.number), "run": run.token}
    ops = tuple(
        replace(op, **undone) if op is answer else replace(op, **done) if op.number == case.number and op.digest else op
        for op in evidence.ops
    )
    moved = [op if op.action != "read" or op.number != case.number else replace(op, at=op.at + 3) for op in ops]
    moves = [
        replace(move, move="succeed", why="completed", at=end)
        if isinstance(move, TaskMove) and move.task_id == case.ids[0] and move.move == "cancel"
        else move
        for move in evidence.moves
    ]
    changed = replace(
        evidence,
        ops=tuple(moved),
        marks=(*evidence.marks, Mark("end", case.number, run.token, run.pid, end)),
        moves=tuple(sorted(moves, key=lambda move: move.at)),
    )
    return Planted(changed, _subject(case), answer.at, "client")


def works_on(evidence: Evidence, chance: Random) -> Planted | None:
    """It ends cancelled for everybody, and nobody tells its worker."""
    case = _cancelled(evidence, chance, has_run=True)
    if case is None:
        return None
    run = case.starts[0]
    mark = Mark("end", case.number, run.token, run.pid, run.started + 3.0)
    return Planted(replace(evidence, marks=(*evidence.marks, mark)), _subject(case), mark.at, "witness")


def killed_late(evidence: Evidence, chance: Random) -> Planted | None:
    """It ends cancelled for everybody, and its worker hears of that only later."""
    case = _cancelled(evidence, chance, has_run=True)
    if case is None:
        return None
    answer = next(op for op in case.ops if op.action == "cancel" and op.type == "ok")
    moves = _insert(evidence.moves, end_of_slot(answer.at + 1.5, case.starts[0].pid))
    return Planted(replace(evidence, moves=moves), _subject(case), answer.at, "client")


def end_of_slot(at: float, pid: int) -> ChildMove:
    """The record has that this process, a slot, was killed then."""
    return ChildMove(at, WALL + at, "slot.down", "root/workers/worker-0/slot-0", 1, pid, "signal:SIGKILL")


def killed_at_once_and_its_number_again_later(evidence: Evidence, chance: Random) -> Evidence | None:
    """No violation: a cancelled run is killed, and a slot that has its process's number by then is killed much later."""
    case = _cancelled(evidence, chance, has_run=True)
    if case is None:
        return None
    answer = next(op for op in case.ops if op.action == "cancel" and op.type == "ok")
    moves = evidence.moves
    for after_s in (0.1, 1000.0):
        moves = _insert(moves, end_of_slot(answer.at + after_s, case.starts[0].pid))
    return replace(evidence, moves=moves)


def cancelled_by_nobody(evidence: Evidence, chance: Random) -> Planted | None:
    case = _cancelled(evidence, chance)
    if case is None or case.end is None:
        return None
    ops = tuple(op for op in evidence.ops if not (op.number == case.number and op.action == "cancel"))
    return Planted(replace(evidence, ops=ops), _subject(case), case.end.at, "client")


def completed_after_all(evidence: Evidence, chance: Random) -> Planted | None:
    """The cancel is confirmed, and the outcome of the run, which came later, is stored all the same."""
    case = _cancelled(evidence, chance, has_run=True)
    if case is None or case.final is None:
        return None
    run = case.starts[0]
    mark = Mark("end", case.number, run.token, run.pid, run.started + 0.8)
    done = {"status": "COMPLETED", "error_kind": "", "value": str(case.number), "run": run.token, "digest": "0badc0de"}
    ops = _final(evidence, case.number, **done)
    changed = replace(evidence, ops=ops, marks=(*evidence.marks, mark))
    return Planted(changed, _subject(case), case.final.at, "client")


def missing_worker(evidence: Evidence, chance: Random) -> Planted | None:
    after = evidence.after
    assert after is not None
    workers = after.tree.find("root/workers")
    assert workers is not None
    lame = replace(workers, children=workers.children[1:])
    tree = replace(after.tree, children=tuple(lame if child is workers else child for child in after.tree.children))
    return Planted(replace(evidence, after=replace(after, tree=tree)), workers.children[0].path)


def two_of_one_name(evidence: Evidence, chance: Random) -> Planted | None:
    after = evidence.after
    assert after is not None
    twin = replace(after.tree.children[0], pid=4242)
    tree = replace(after.tree, children=(*after.tree.children, twin))
    return Planted(replace(evidence, after=replace(after, tree=tree)), twin.path)


def gave_up(evidence: Evidence, chance: Random) -> Planted | None:
    """More restarts than a supervisor's budget has."""
    at = evidence.ended - 0.1
    move = ChildMove(at, WALL + at, "supervisor.gave_up", "root/workers", 1, 6, "too many restarts")
    return Planted(replace(evidence, moves=_insert(evidence.moves, move)), "root/workers", at, "record")


def _after(**grown: int) -> Plant:
    def plant(evidence: Evidence, chance: Random) -> Planted | None:
        assert evidence.after is not None
        return Planted(replace(evidence, after=replace(evidence.after, **grown)), "root")

    return plant


def left_behind(evidence: Evidence, chance: Random) -> Planted | None:
    return Planted(replace(evidence, orphans=("root/workers/worker-0/slot-1 (pid 4711)",)), "slot-1 (pid 4711)")


@dataclass
class Row:
    """``invalid``: the invariants that a checker must call invalid, the first being the one that is meant; ``course``: of the evidence."""

    plant: Plant
    invalid: tuple[str, ...]
    course: dict[str, Any]


KILLS: dict[str, Any] = {"faults": ("kill worker",)}
CALM: dict[str, Any] = {"strikes": 0}
CANCELS: dict[str, Any] = {"strikes": 1, "mix": {"cancel": 1, "noop": 5}}
ROWS = {
    "still queued at the end": Row(still_queued, ("no_lost", "liveness"), {}),
    "gone at the end": Row(gone_at_the_end, ("no_lost",), {}),
    "a run of a task that nobody submitted": Row(run_of_nobody, ("no_phantom",), {}),
    "a run of a task that was refused": Row(run_after_refusal, ("no_phantom",), {}),
    "the end of a task that nobody submitted": Row(end_of_nobody, ("no_phantom",), {}),
    "two ids for one task": Row(two_ids, ("no_phantom",), {}),
    "a second end in the record": Row(second_end, ("one_terminal", "legal_transitions"), {}),
    "two states for readers": Row(two_states, ("one_terminal",), {}),
    "record against client": Row(record_against_client, ("one_terminal",), {}),
    "another outcome at the end": Row(overwritten, ("no_overwrite", "one_terminal"), {}),
    "the value of another task": Row(mixed_up, ("value_correct",), {}),
    "a value of a task that raises": Row(returned_instead_of_raising, ("value_correct",), {}),
    "completed without an end": Row(without_an_end, ("terminal_is_true",), {}),
    "completed by a run of another task": Row(by_another_run, ("terminal_is_true",), {}),
    "completed by a former attempt": Row(by_a_former_run, ("terminal_is_true",), KILLS),
    "damaged by nobody": Row(damaged_by_nobody, ("terminal_is_true",), {"strikes": 2}),
    "raised without an exception": Row(without_raising, ("terminal_is_true",), {}),
    "quarantined without a death": Row(
        quarantined_for_nothing, ("terminal_is_true", "poison_contained"), {"strikes": 2}
    ),
    "started again without a fault": Row(started_for_nothing, ("bounded_reexec",), {}),
    "tried again, and nobody asked for it": Row(
        tried_again_unasked, ("bounded_reexec",), {"mix": {"raise": 1, "noop": 5}}
    ),
    "an attempt that is started twice": Row(started_twice_in_a_fault, ("bounded_reexec",), {}),
    "two runs at once": Row(started_while_running, ("no_overlap",), KILLS),
    "started twice, which it must not": Row(
        twice_though_once, ("at_most_once", "bounded_reexec"), {**KILLS, "mix": {"once": 3, "noop": 1}}
    ),
    "lost while it was queued": Row(lost_while_queued, ("legal_transitions",), {}),
    "settled by a former attempt": Row(settled_by_a_former_attempt, ("legal_transitions",), {}),
    "given back though it had started": Row(given_back_though_started, ("legal_transitions",), KILLS),
    "found by a search": Row(found_by_a_search, ("legal_transitions",), {}),
    "acknowledged before the store has it": Row(acknowledged_too_early, ("legal_transitions",), CALM),
    "running after its end": Row(revived, ("legal_transitions",), {}),
    "a death that is noticed late": Row(noticed_late, ("bounded_detection",), KILLS),
    "a silence that nobody ends": Row(left_alive, ("bounded_detection",), {"faults": ("stop",)}),
    "a silence that nobody ends while another drains": Row(
        left_alive_while_another_drains, ("bounded_detection",), {"faults": ("stop",)}
    ),
    "an end that is read too late": Row(ended_too_late, ("liveness",), {}),
    "a run that does not settle": Row(never_settled, ("liveness",), {}),
    "a task that starves": Row(starved, ("fairness",), CALM),
    "poison that is not quarantined": Row(not_quarantined, ("poison_contained",), {"mix": {"poison": 1, "noop": 5}}),
    "poison that is quarantined too soon": Row(
        quarantined_too_soon, ("poison_contained",), {"mix": {"poison": 1, "noop": 5}}
    ),
    "harmless, and quarantined": Row(quarantined_for_nothing, ("poison_contained", "terminal_is_true"), CALM),
    "a cancel that does nothing": Row(cancelled_in_vain, ("cancel_holds",), CANCELS),
    "a cancelled task that works on": Row(works_on, ("cancel_holds",), CANCELS),
    "a cancelled task that is killed late": Row(killed_late, ("cancel_holds",), CANCELS),
    "a cancel that nobody asked for": Row(cancelled_by_nobody, ("cancel_holds",), CANCELS),
    "completed after its cancel": Row(completed_after_all, ("cancel_holds", "no_overwrite", "one_terminal"), CANCELS),
    "a worker less": Row(missing_worker, ("tree_healthy",), {}),
    "two of one name": Row(two_of_one_name, ("tree_healthy",), {}),
    "a supervisor that gave up": Row(gave_up, ("tree_healthy",), {}),
    "keys that stay": Row(_after(store_keys=100_000), ("memory",), {}),
    "memory that stays": Row(_after(rss_bytes=4 << 30), ("memory",), {}),
    "descriptors that stay": Row(_after(open_files=5_000), ("memory",), {}),
    "a process left behind": Row(left_behind, ("no_orphans",), {}),
}


def moments(timeline: tuple[Moment, ...], source: str) -> list[float]:
    """When that source spoke."""
    return [moment.at for moment in timeline if moment.source == source]
