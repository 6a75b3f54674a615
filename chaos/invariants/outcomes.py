"""Core: what became of each task: none lost, none made up, one end each, and that end the true one.

Judged by what clients read and by what the tasks wrote; the record adds second ends that no client happened to see.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from regrow.chaos.docket import COMPLETED, ENDED, GONE, LAST, Case, Sighting, is_decisive
from regrow.chaos.history import TaskMove
from regrow.chaos.impact import SLACK_S, UNSYNCED_S, Impact
from regrow.chaos.invariants.moves import DAMAGED
from regrow.chaos.invariants.ruling import NO_MARKS, NO_RECORD, Facts, Ruling, Violation
from regrow.chaos.kinds import KINDS, value_of

DEATHS: Final = {
    "crashed": 1,
    "worker_lost": 1,
    "quarantined": 3,
}  # failures that say a fault took it: how many it takes
NEVER: Final = frozenset(
    {"unpicklable", "unloadable", "limit", "dependency_failed"}
)  # no task of ours fails like this by itself
STARVING: Final = ("fd.", "mem.", "disk.")  # faults under which any call of any function may raise


def no_lost(facts: Facts, bound: float | None) -> Ruling:
    """``bound``: seconds before a crash of the store in which everysec does not promise to keep what was acknowledged."""
    found, checked, excused, silent = [], 0, 0, 0
    for case in facts.docket.acknowledged:
        told = _whereabouts(case, has_been_stopped=bool(facts.evidence.stopped_because))
        if told is None:
            silent += 1
        elif told and facts.impact.is_unsynced(case.acknowledged or 0.0, bound or UNSYNCED_S):
            excused += 1
        else:
            checked += 1
            found += [Violation(told, case)] if told else []
    detail = f"{excused} acknowledged just before a crash of the store are gone, as everysec allows" if excused else ""
    return Ruling(checked, found, detail, f"the last word on {silent} acknowledged tasks" if silent else "")


def _whereabouts(case: Case, *, has_been_stopped: bool) -> str | None:
    """What is wrong with where the task stands at last; "": it has ended; None: nobody can say."""
    last = case.final
    if last is None or not is_decisive(last):
        return "" if case.end is not None else None
    if last.type == "fail" and last.problem in GONE:
        return f"it was acknowledged, and at the end there is no such task ({last.problem})"
    if last.status in ENDED:
        return ""
    return None if has_been_stopped else f"it was acknowledged, and is still {last.status} after the settling"


def no_phantom(facts: Facts, _: float | None) -> Ruling:
    """By the tasks' own witness; by ids of the record only where all that is not the workload's is known."""
    docket = facts.docket
    found = []
    for case in docket.cases.values():
        if case.marks and case.invoked is None:
            found.append(Violation("it ran, and nobody submitted it", case))
        elif case.marks and case.is_certain_rejection:
            found.append(Violation(f"it ran, although every submit of it was refused ({case.rejected})", case))
        if len(case.ids) > 1:
            how = "submitted twice under one idempotency key, it" if case.terms.is_sent_twice else "one submit"
            found.append(Violation(f"{how} became {len(case.ids)} tasks: {', '.join(case.ids)}", case))
        owners = [docket.by_id[task_id] for task_id in case.ids]
        found += [
            Violation(f"its id was given to task {owner.number} too", case) for owner in owners if owner is not case
        ]
    if facts.evidence.others is None:
        detail = "ids in the record that no client knows were not judged: others may have submitted tasks"
    else:
        found += [Violation("it ended, and nobody submitted it", stranger=task_id) for task_id in _made_up(facts)]
        detail = ""
    return Ruling(len(docket.cases), found, detail, "" if docket.has_marks else NO_MARKS)


def _made_up(facts: Facts) -> Iterator[str]:
    """Ids that ended and that no submit without an answer explains: each such submit explains one, later than itself."""
    docket = facts.docket
    known = set(facts.evidence.others or ())
    ended = {
        task_id: moves[0].at
        for task_id, moves in docket.strangers.items()
        if task_id not in known and any(move.move in LAST for move in moves)
    }
    open_submits = sorted(
        op.at
        for case in docket.cases.values()
        if case.submits_unknown > 0
        for op in case.ops
        if op.action == "submit" and op.type == "invoke"
    )
    for task_id, at in sorted(ended.items(), key=lambda it: it[1]):
        earlier = bisect_right(open_submits, at + SLACK_S)
        if earlier:
            del open_submits[earlier - 1]
        else:
            yield task_id


def one_terminal(facts: Facts, _: float | None) -> Ruling:
    """Of ends that everysec may have lost in a crash, only later ones count."""
    found, checked = [], 0
    for case in facts.docket.cases.values():
        lasts = _last_moves(case.moves, facts.impact)
        ends = _kept(case.ends, facts.impact)
        checked += bool(ends)
        if len(lasts) > 1:
            told = ", then ".join(f"{move.move} (attempt {move.attempt})" for move in lasts)
            found.append(Violation(f"the record has {len(lasts)} ends of it: {told}", case))
        elif len({_state(seen) for seen in ends}) > 1:
            states = ", then ".join(dict.fromkeys(_state(seen) for seen in ends))
            found.append(Violation(f"clients have read different ends of it: {states}", case))
        elif lasts and ends and _differ(lasts[0], ends[-1]):
            found.append(
                Violation(f"the record has it end by {lasts[0].move}, and clients read {_state(ends[-1])}", case)
            )
    for task_id, moves in facts.docket.strangers.items():
        if len(_last_moves(moves, facts.impact)) > 1:
            found.append(Violation("the record has more than one end of it", stranger=task_id))
    return Ruling(checked, found, "", "" if facts.docket.has_record else NO_RECORD)


def _last_moves(moves: list[TaskMove], impact: Impact) -> list[TaskMove]:
    return [move for move in moves if move.move in LAST and not impact.is_unsynced(move.at)]


def _kept(ends: list[Sighting], impact: Impact) -> list[Sighting]:
    return [seen for seen in ends if not impact.is_unsynced(seen.op.at)] if impact.crashes else ends


def _differ(last: TaskMove, seen: Sighting) -> bool:
    """Whether record and client tell of different ends; a value that was damaged later is shown as a failure."""
    return (last.move == "succeed") != (seen.op.status == COMPLETED) and seen.op.error_kind != DAMAGED


def _state(seen: Sighting) -> str:
    op = seen.op
    return f"{op.status}{' ' + op.error_kind if op.error_kind else ''} with outcome {op.digest}"


def no_overwrite(facts: Facts, _: float | None) -> Ruling:
    """Only tasks that were read at least twice after they had ended can tell."""
    found, checked = [], 0
    for case in facts.docket.cases.values():
        ends = _kept(case.ends, facts.impact)
        if len(ends) < 2:
            continue
        checked += 1
        first = ends[0].op
        other = next((seen.op for seen in ends if seen.op.digest != first.digest), None)
        if other is not None:
            found.append(Violation(f"its outcome was {first.digest} when first read, and {other.digest} later", case))
    return Ruling(checked, found)


def value_correct(facts: Facts, _: float | None) -> Ruling:
    """The value is computed anew from the task's kind and number; kinds that are not in our table are not judged."""
    found, checked = [], 0
    starves = is_starving(facts)
    for case in facts.docket.cases.values():
        if case.kind not in KINDS:
            continue
        for end in {seen.op.digest: seen.op for seen in case.ends}.values():
            checked += end.status == COMPLETED
            if end.status != COMPLETED:
                wrong = f"it failed as {end.error_kind}" if end.error_kind in NEVER and not starves else ""
            elif case.terms.ends != COMPLETED:
                wrong = f"it returned {end.value!r}, and tasks of its kind end {case.terms.ends}"
            else:
                meant = value_of(case.kind, case.number)
                wrong = (
                    "" if end.value == meant else f"it returned {_short(end.value)}, which should be {_short(meant)}"
                )
            if wrong:
                found.append(Violation(wrong, case))
                break
    return Ruling(checked, found)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def terminal_is_true(facts: Facts, _: float | None) -> Ruling:
    """By the token of the run that is in the stored outcome, and by the faults that could have taken the task."""
    if not facts.docket.has_marks:
        return Ruling(0, [], "", NO_MARKS)
    found, checked = [], 0
    for case in facts.docket.cases.values():
        end = case.end
        if end is None:
            continue
        if end.status == COMPLETED or end.error_kind == "raised" or end.error_kind in DEATHS:
            checked += 1
        wrong = _made_by_no_run(case) if end.status == COMPLETED else _failed_for_nothing(case, facts)
        if wrong:
            found.append(Violation(wrong, case))
    return Ruling(checked, found)


def _made_by_no_run(case: Case) -> str:
    end = case.end
    assert end is not None
    if not end.run:
        has_ended = any(run.ended is not None and not run.has_raised for run in case.runs.values())
        return "" if has_ended else "it is COMPLETED, and no run of it came to its end"
    run = case.runs.get(end.run)
    if run is None:
        return f"its outcome was made by run {end.run}, which is no run of this task"
    if run.ended is None or run.has_raised:
        return f"its outcome was made by run {end.run}, which never came to its end"
    last = case.holds[-1] if case.holds else None
    if last is not None and run.has_started and run.started < last.claimed - SLACK_S:
        return f"its outcome was made by run {end.run}, which had begun before attempt {last.attempt} was claimed: by a former attempt"
    return ""


def _failed_for_nothing(case: Case, facts: Facts) -> str:
    end = case.end
    assert end is not None
    if end.error_kind == "raised":
        has_raised = (
            case.runs[end.run].has_raised if end.run in case.runs else any(run.has_raised for run in case.runs.values())
        )
        return (
            "" if has_raised or is_starving(facts) else "it failed with an exception, and no run of it has raised one"
        )
    if end.error_kind == DAMAGED:
        is_explained = facts.impact.is_store_damaged
        return "" if is_explained else "what is stored of it does not fit together, and no fault has damaged it"
    if end.error_kind in DEATHS and case.terms.ends != "quarantined":
        hits, least = facts.impact.hits(case), DEATHS[end.error_kind]
        return (
            ""
            if hits >= least
            else f"it ended {end.error_kind}, for which {least} of the faults must have hit it, and {hits or 'none'} can have"
        )
    return ""


def is_starving(facts: Facts) -> bool:
    """Whether something was taken away that any function needs."""
    return any(strike.fault.startswith(STARVING) for strike in facts.docket.strikes)
