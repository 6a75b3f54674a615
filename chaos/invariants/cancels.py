"""Core: whether a cancel holds: whoever was told so sees his task ended from then on, and nobody works at it any more."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from regrow.chaos.docket import ENDED, Case, Run
from regrow.chaos.history import ChildMove, Op
from regrow.chaos.impact import SAME_S
from regrow.chaos.invariants.ruling import NO_MARKS, Facts, Ruling, Violation

CANCELLED: Final = "cancelled"
WORKS_ON_S: Final = 1.0  # from the answer until its run is killed, where no fault is in the way


def cancel_holds(facts: Facts, bound: float | None) -> Ruling:
    """``bound``: seconds that a run may go on after the cancel was answered, if no fault can have hit the task: until it came to its end by
    its own word, or until the end of its slot is on record.

    A cancel that comes too late is answered with how the task has ended: that is no breach.
    """
    limit_s = WORKS_ON_S if bound is None else bound
    found, checked, late = [], 0, 0
    deaths = _deaths_of_slots(facts.docket.children)
    for case in facts.docket.cases.values():
        cancels = [op for op in case.ops if op.action == "cancel"]
        answer = next((op for op in cancels if op.type == "ok"), None)
        if answer is not None and not facts.impact.is_unsynced(answer.at):
            checked += 1
            late += answer.status in ENDED and answer.error_kind != CANCELLED
            wrong = _goes_on(case, answer) or _works_on(case, answer, limit_s, facts, deaths)
        else:
            is_made_up = not cancels and case.end is not None and case.end.error_kind == CANCELLED
            wrong = "it ended cancelled, and nobody has cancelled it" if is_made_up else ""
        found += [Violation(wrong, case)] if wrong else []
    detail = f"{late} of {checked} cancels came when the task had ended" if checked else "no cancel was answered"
    return Ruling(checked, found, detail, "" if facts.docket.has_marks else NO_MARKS)


def _goes_on(case: Case, answer: Op) -> str:
    if answer.status not in ENDED:
        return f"it was to be cancelled, and the answer says that it is still {answer.status}"
    end = case.end
    if answer.error_kind == CANCELLED and end is not None and end.error_kind != CANCELLED:
        return f"its cancel was confirmed, and yet it ended {end.error_kind or end.status}"
    return ""


def _deaths_of_slots(children: Iterable[ChildMove]) -> dict[int, list[float]]:
    """When processes of each number ended, in order: in an hour a number may come to be somebody else's."""
    found: dict[int, list[float]] = defaultdict(list)
    for move in children:
        if move.event == "slot.down" and move.pid is not None:
            found[move.pid].append(move.at)
    return found


def _end_of(run: Run, deaths: Mapping[int, list[float]]) -> float:
    """Of one that has not told of its end: when its process ended, as far as known."""
    return next((at for at in deaths.get(run.pid, ()) if at >= run.started - SAME_S), run.started)


def _works_on(case: Case, answer: Op, limit_s: float, facts: Facts, deaths: Mapping[int, list[float]]) -> str:
    signs = [mark.at for mark in case.marks]
    signs += [_end_of(run, deaths) for run in case.runs.values() if run.ended is None]
    last = max(signs, default=answer.at)
    if answer.error_kind != CANCELLED or last <= answer.at + limit_s or facts.impact.hits(case):
        return ""
    return f"its function was still at work {last - answer.at:.1f} s after its cancel was confirmed ({limit_s:g} s are allowed)"
