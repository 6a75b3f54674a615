"""Core: how often tasks ran, and when: the promise is at least once, never often, and never at the same time for long.

Judged by what the tasks wrote themselves.  How many starts a fault explains is in ``impact``.
"""

from collections.abc import Iterable
from math import inf
from typing import Final

from regrow.chaos.docket import COMPLETED, Case, Run
from regrow.chaos.history import TaskMove
from regrow.chaos.impact import AFTER_S
from regrow.chaos.invariants.outcomes import DEATHS, is_starving
from regrow.chaos.invariants.ruling import NO_MARKS, Facts, Ruling, Violation
from regrow.chaos.kinds import KINDS

MAX_ATTEMPTS: Final = 3  # deaths of its slot before a task is quarantined
SAME_S: Final = 0.05  # two processes that die and start at the same moment
WITHDRAWN: Final = frozenset({"cancelled", "expired"})  # ended by somebody's wish
FOR_MEMORY: Final = frozenset(
    {"oom"}
)  # moves by which a task of ours that has run is to run again: its function has no retry policy
TRIED_AGAIN: Final = FOR_MEMORY | {"retry"}  # and one that may have such a policy


def bounded_reexec(facts: Facts, bound: float | None) -> Ruling:
    """``bound``: starts on top of those that are explained.  No fault explains that one attempt is started twice."""
    found, checked, repeated = [], 0, 0
    for case in facts.docket.cases.values():
        starts = sum(run.has_started for run in case.runs.values())
        checked += bool(starts)
        repeated += starts > 1
        if starts <= 1:
            continue
        hits = facts.impact.hits(case)
        tries = MAX_ATTEMPTS if case.terms.ends == "quarantined" else 1
        retries = _retries(case, facts)
        if starts > tries + hits + retries + (bound or 0):
            why = f"it was started {starts} times; {hits} faults can have hit it, and it was to be tried again {retries} times"
            found.append(Violation(why, case))
        elif starts > (attempts := _attempts(case, facts)) + (bound or 0):
            why = f"one attempt of it was started twice (starts: {starts}, attempts in the record: {attempts})"
            found.append(Violation(why, case))
    lacks = "" if facts.docket.has_marks else NO_MARKS
    return Ruling(checked, found, f"{repeated} of {checked} tasks were started more than once", lacks)


def _attempts(case: Case, facts: Facts) -> float:
    """Those that the record has of it; no bound where it may have forgotten some."""
    is_told = facts.docket.has_record and bool(case.moves) and not facts.impact.crashes
    return sum(move.move == "claim" for move in case.moves) if is_told else inf


def _retries(case: Case, facts: Facts) -> int:
    """How often it was to be tried again; of a task whose id no client knows, the most that it can have been."""
    granted = FOR_MEMORY if case.kind in KINDS else TRIED_AGAIN
    told: Iterable[list[TaskMove]] = [case.moves] if case.ids else facts.docket.strangers.values()
    return max((sum(move.move in granted for move in moves) for moves in told), default=0)


def no_overlap(facts: Facts, bound: float | None) -> Ruling:
    """``bound`` None: none at all where a process died, and a window where somebody who had the task may have lived on unheard."""
    found, checked, most_s = [], 0, 0.0
    for case in facts.docket.cases.values():
        checked += bool(case.runs)
        if len(case.runs) < 2:
            continue
        overlap_s = overlap(case.starts)
        most_s = max(most_s, overlap_s)
        if overlap_s <= (SAME_S if bound is None else bound):
            continue
        allowed_s = (AFTER_S if facts.impact.by_silence(case) else SAME_S) if bound is None else bound
        if overlap_s > allowed_s:
            found.append(
                Violation(f"two runs of it overlapped for {overlap_s:.3f} s ({allowed_s:g} s are allowed)", case)
            )
    lacks = "" if facts.docket.has_marks else NO_MARKS
    return Ruling(checked, found, f"longest overlap: {most_s:.3f} s", lacks)


def overlap(runs: list[Run]) -> float:
    """The longest time in which two of them are known to have run at once.  One without an end is known to have lived at its start only."""
    most_s, latest = 0.0, float("-inf")
    for run in runs:
        until = run.started if run.ended is None else run.ended
        most_s = max(most_s, min(until, latest) - run.started)
        latest = max(latest, until)
    return most_s


def at_most_once(facts: Facts, _: float | None) -> Ruling:
    """Tasks whose kind has ``max_attempts=1``."""
    found, checked, hit = [], 0, 0
    struck = {hold.number for _, holds in facts.impact.struck for hold in holds}
    for case in facts.docket.cases.values():
        if case.terms.max_attempts != 1 or not case.runs:
            continue
        checked += 1
        starts = [run for run in case.starts if not facts.impact.is_unsynced(run.started)]
        hit += case.number in struck
        if len(starts) > 1:
            found.append(Violation(f"it must never start twice, and was started {len(starts)} times", case))
    lacks = "" if facts.docket.has_marks else NO_MARKS
    return Ruling(checked, found, f"faults hit {hit} of {checked} such tasks", lacks)


def poison_contained(facts: Facts, _: float | None) -> Ruling:
    """Poison tasks, and that no other task ended as if it were one."""
    found, checked = [], 0
    for case in facts.docket.cases.values():
        end = case.end
        if end is None:
            continue
        if case.terms.ends == "quarantined":
            checked += end.error_kind not in WITHDRAWN
            if end.error_kind not in {"quarantined", *WITHDRAWN}:
                found.append(Violation(f"it kills its slot, and ended {_end(case)} instead of quarantined", case))
            elif end.error_kind == "quarantined" and (deaths := _deaths(case, facts)) < MAX_ATTEMPTS:
                why = (
                    f"it was quarantined when its slot can have died {deaths} times, and it has {MAX_ATTEMPTS} attempts"
                )
                found.append(Violation(why, case))
        elif end.error_kind in DEATHS and facts.impact.hits(case) < DEATHS[end.error_kind]:
            found.append(
                Violation(f"it is harmless, and ended {end.error_kind} without the faults that this takes", case)
            )
    return Ruling(checked, found)


def _deaths(case: Case, facts: Facts) -> float:
    """How often its slot can have died: with each start, and by faults; no bound where starts may have left no mark."""
    is_told = facts.docket.has_marks and not is_starving(facts)
    return len(case.starts) + facts.impact.hits(case) if is_told else inf


def _end(case: Case) -> str:
    end = case.end
    assert end is not None
    return COMPLETED if end.status == COMPLETED else end.error_kind
