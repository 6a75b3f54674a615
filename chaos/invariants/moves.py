"""Core: whether tasks moved only as they may, in the record and before the eyes of clients, and whether the moves say the truth.

``TRANSITIONS`` is a copy of the service's own table, on purpose: whoever judges must not take the rules from whom it judges.
"""

from typing import Final

from regrow.chaos.docket import ENDED, Case
from regrow.chaos.history import TaskMove
from regrow.chaos.impact import SAME_S, SLACK_S, Impact
from regrow.chaos.invariants.ruling import NO_RECORD, Facts, Ruling, Violation

TRANSITIONS: Final = {
    ("QUEUED", "claim"): "RUNNING",
    ("QUEUED", "cancel"): "FAILED",
    ("QUEUED", "expire"): "FAILED",
    ("RUNNING", "succeed"): "COMPLETED",
    ("RUNNING", "fail"): "FAILED",
    ("RUNNING", "give_up"): "FAILED",
    ("RUNNING", "cancel"): "FAILED",
    ("RUNNING", "retry"): "QUEUED",
    ("RUNNING", "crash"): "QUEUED",
    ("RUNNING", "oom"): "QUEUED",
    ("RUNNING", "lose_worker"): "QUEUED",
    ("RUNNING", "give_back"): "QUEUED",
}
NOTES: Final = frozenset({"submit", "due", "inherit", "found"})  # in the record, and no move
DAMAGED: Final = "corrupt_payload"  # ends a task from wherever it stands
ANYWHERE: Final = ""  # a state that a crash of the store may have set back


def legal_transitions(facts: Facts, _: float | None) -> Ruling:
    """Each task's moves in the order of the record; and no client sees a task that has ended not ended any more."""
    found, checked, impact = [], 0, facts.impact
    for case in facts.docket.cases.values():
        checked += bool(case.moves)
        wrong = (
            illegal(case.moves, impact)
            or _revived(case, impact)
            or _had_started(case, impact)
            or _strayed(case, impact)
            or _came_late(case, impact)
        )
        if wrong:
            found.append(Violation(wrong, case))
    for task_id, moves in facts.docket.strangers.items():
        checked += 1
        wrong = illegal(moves, impact)
        if wrong:
            found.append(Violation(wrong, stranger=task_id))
    return Ruling(checked, found, "", "" if facts.docket.has_record else NO_RECORD)


def illegal(moves: list[TaskMove], impact: Impact) -> str:
    """The first of these moves that the table does not have; "" where there is none.  An attempt ends only as itself, and counts up."""
    state, attempt, last = "QUEUED", 0, None
    for move in moves:
        if last is not None and _is_set_back(last, move, impact):
            state = ANYWHERE
        last = move
        if move.move in NOTES:
            continue
        if move.why == DAMAGED and state not in ENDED:
            state = "FAILED"
            continue
        after = _after(state, move.move)
        if not after:
            return f"{move.move} (attempt {move.attempt}) at a task that is {state}"
        if state != ANYWHERE and (move.attempt <= attempt if move.move == "claim" else move.attempt != attempt):
            return f"{move.move} of attempt {move.attempt} at a task whose attempt is {attempt}"
        state, attempt = after, move.attempt
    return ""


def _had_started(case: Case, impact: Impact) -> str:
    """give_back says that an attempt never started.  It did, if by then more runs had started than there were attempts before it."""
    for earlier, hold in enumerate(case.holds):
        if hold.by == "give_back" and hold.released is not None and not impact.crashes:
            started = sum(run.started < hold.released - SAME_S for run in case.starts)
            if started > earlier:
                return f"attempt {hold.attempt} was given back as one that had never started, and it had"
    return ""


def _strayed(case: Case, impact: Impact) -> str:
    """What regrow has to search for had been lost, though it was found in the end."""
    is_found = any(move.move == "found" for move in case.moves)
    is_lost = is_found and not impact.is_store_damaged
    return "it was in no queue and under no lease any more, until a search found it" if is_lost else ""


def _came_late(case: Case, impact: Impact) -> str:
    """An id is a promise that the store has the task: whoever gives it before has kept nothing yet."""
    first = next((move.at for move in case.moves if move.move == "submit"), None)
    if first is None or case.acknowledged is None or impact.crashes:
        return ""
    early_s = first - case.acknowledged
    return f"it was acknowledged {early_s:.3f} s before the store had it" if early_s > SLACK_S else ""


def _after(state: str, move: str) -> str:
    if state != ANYWHERE:
        return TRANSITIONS.get((state, move), "")
    return next((to for (_, name), to in TRANSITIONS.items() if name == move), "")


def _is_set_back(last: TaskMove, move: TaskMove, impact: Impact) -> bool:
    return any(last.at <= crash <= move.at for crash in impact.crashes) and impact.is_unsynced(last.at)


def _revived(case: Case, impact: Impact) -> str:
    if len(case.sightings) == len(case.ends):
        return ""
    ended: float | None = None
    for seen in case.sightings:
        if seen.op.status in ENDED:
            ended = seen.op.at if ended is None and not impact.is_unsynced(seen.op.at) else ended
        elif ended is not None and seen.asked > ended:
            return f"a client has read {seen.op.status} after the end of it had been read"
    return ""
