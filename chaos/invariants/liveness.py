"""Core: whether things happen in time: losses are noticed, the backlog drains, nobody starves."""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from regrow.chaos.docket import GONE, Case, Hold
from regrow.chaos.evidence import Strike
from regrow.chaos.fault import Role, Victim
from regrow.chaos.impact import AFTER_S, SLACK_S, is_kill
from regrow.chaos.invariants.ruling import NO_MARKS, NO_RECORD, Facts, Ruling, Violation

STOPS: Final = frozenset({"stop", "freeze"})
STARVES_S: Final = 10.0  # that later tasks may finish before an earlier one has started
WATCHED: Final = frozenset(
    {Role.WORKER, Role.DISPATCHER, Role.SUPERVISOR}
)  # whose silence their supervisor is to notice
ENDED: Final = frozenset({"child.killed", "child.down"})  # to notice (child.overdue) is not enough
PER_HIT_S: Final = 4.0  # and for each fault that it was in the hands of: a window, and what comes after


def bounded_detection(facts: Facts, bound: float | None) -> Ruling:
    """From the last beat where it is known, else from the fault.  Not judged while the dispatcher, the store or all links were hit too."""
    limit_s = AFTER_S if bound is None else bound
    found, longest_s, checked = [], 0.0, 0
    for strike, hold, silent_s in _silences(facts, limit_s):
        checked += 1
        longest_s = max(longest_s, silent_s)
        if silent_s > limit_s:
            whom = strike.victim.path if strike.victim else hold.worker
            what = f"{hold.worker} had it in hand for {silent_s:.3f} s after the last word of {whom} ({strike.fault})"
            found.append(Violation(f"{what}; {limit_s:g} s are allowed", facts.docket.cases[hold.number]))
    for strike, silent_s in _stops(facts, limit_s):
        checked += 1
        if not _is_ended(strike, facts):
            path = strike.victim.path if strike.victim else ""
            why = f"it was silent for {silent_s:.1f} s, and its supervisor let it live ({limit_s:g} s are allowed)"
            found.append(Violation(why, path=path))
    lacks = "" if facts.docket.has_record else NO_RECORD
    return Ruling(
        checked,
        found,
        f"longest: {longest_s:.3f} s" if checked else "no fault silenced a worker that had a task",
        lacks,
    )


def _silences(facts: Facts, limit_s: float) -> Iterator[tuple[Strike, Hold, float]]:
    """Who had a task in hand and fell silent for good, or for long enough, and for how long nobody took the task away."""
    for strike, holds in facts.impact.struck:
        since = _last_word(strike)
        for hold in holds:
            if not _must_be_noticed(strike, facts, since + limit_s) and not _was_noticed(strike, hold, facts):
                continue
            released = facts.evidence.finished if hold.released is None else hold.released
            if not facts.impact.is_disturbed(since, released, strike):
                yield strike, hold, released - since


def _stops(facts: Facts, limit_s: float) -> Iterator[tuple[Strike, float]]:
    """Who was stopped for longer than anybody may be silent, with nothing else in the way, and for how long nobody heard him."""
    for strike in facts.docket.strikes:
        if strike.fault in STOPS and strike.victim is not None and strike.victim.role in WATCHED:
            since, until = _last_word(strike), facts.impact.over(strike)
            if until - since > limit_s and not _is_hindered(strike, since, until, facts):
                yield strike, until - since


def _is_hindered(stop: Strike, since: float, until: float, facts: Facts) -> bool:
    """Whether its supervisor may not have noticed: that was hit itself, or the whole machine, or it was ending or starting just then."""
    victim = stop.victim
    assert victim is not None
    is_starting = any(
        move.event == "child.up"
        and (move.path, move.incarnation) == (victim.path, victim.incarnation)
        and move.at > (stop.applied_at or 0.0)
        for move in facts.docket.children
    )
    return is_starting or any(
        _is_in_the_way(other, victim) and begun <= until and over >= since
        for other in facts.docket.strikes
        if other is not stop
        for begun, over in [facts.impact.span(other)]
    )


def _is_in_the_way(other: Strike, victim: Victim) -> bool:
    if other.victim is None:
        return "link" not in other.options and not other.fault.startswith("store.")
    return f"{victim.path}/".startswith(f"{other.victim.path}/") and (
        other.victim.path != victim.path or other.victim.pid == victim.pid
    )


def _last_word(strike: Strike) -> float:
    return strike.last_beat_at if strike.last_beat_at is not None else strike.applied_at or 0.0


def _is_ended(strike: Strike, facts: Facts) -> bool:
    """Any time while it was stopped will do: how late is judged by what it had in hand."""
    assert strike.victim is not None
    path, since, until = strike.victim.path, _last_word(strike), facts.impact.over(strike) + SLACK_S
    return any(
        move.path == path and move.event in ENDED and since <= move.at <= until for move in facts.docket.children
    )


def _must_be_noticed(strike: Strike, facts: Facts, by: float) -> bool:
    """A worker that is dead, or stopped for long, or all of them cut off for long; a slot only when it is dead."""
    role = strike.victim.role if strike.victim else ""
    if is_kill(strike.fault):
        return role in (Role.WORKER, Role.SLOT)
    is_silent = (role == Role.WORKER and strike.fault in STOPS) or (
        _is_cut_off(strike) and not strike.options.get("half")
    )
    return is_silent and facts.impact.over(strike) > by


def _was_noticed(strike: Strike, hold: Hold, facts: Facts) -> bool:
    """A shorter silence, or one of some workers, that cost the task its worker all the same."""
    is_timed = _is_cut_off(strike) or (bool(strike.worker) and strike.last_beat_at is not None)
    return is_timed and hold.by == "lose_worker" and facts.impact.took(strike, hold)


def _is_cut_off(strike: Strike) -> bool:
    """Whether a dispatcher hears nothing from workers any more, from the moment of the fault on."""
    is_deaf = strike.fault == "net.cut" or (strike.fault == "net.one_way" and strike.options.get("way") == "out")
    return is_deaf and strike.options.get("link") == "worker-dispatcher"


def liveness(facts: Facts, bound: float | None) -> Ruling:
    """``bound`` None: what the experiment gives for settling."""
    evidence = facts.evidence
    limit_s = evidence.experiment.settle_s if bound is None else bound
    healed = max(
        [evidence.ended, *(strike.undone_at for strike in facts.docket.strikes if strike.undone_at is not None)]
    )
    acknowledged = list(facts.docket.acknowledged)
    if evidence.settled_at is None:
        if evidence.stopped_because:
            return Ruling(0, [], "", "the settling: the run was stopped before it")
        found = [
            Violation("it had not ended when the time for settling was over", case)
            for case in acknowledged
            if _is_open(case)
        ]
        return Ruling(
            len(acknowledged), found or [Violation("not all tasks had ended when the time for settling was over")]
        )
    took_s = evidence.settled_at - healed
    if took_s <= limit_s:
        return Ruling(len(acknowledged), [], f"all had ended {max(0.0, took_s):.1f} s after the last fault was over")
    late = [case for case in acknowledged if case.ends and case.ends[0].op.at > healed + limit_s]
    why = f"it ended more than {limit_s:g} s after the last fault was over"
    return Ruling(
        len(acknowledged),
        [Violation(why, case) for case in late] or [Violation(f"all had ended only {took_s:.1f} s after it")],
    )


def _is_open(case: Case) -> bool:
    return case.end is None and not (case.final is not None and case.final.problem in GONE)


def fairness(facts: Facts, bound: float | None) -> Ruling:
    """By the tasks' own marks; all tasks of a workload have the same priority."""
    limit_s = STARVES_S if bound is None else bound
    cases = list(facts.docket.cases.values())
    invoked, soonest = _soonest_ends(cases)
    found, checked, longest_s = [], 0, 0.0
    for case in cases:
        if case.acknowledged is None or (not case.runs and not _is_open(case)):
            continue
        started = min((run.started for run in case.runs.values()), default=facts.evidence.finished)
        place = bisect_right(invoked, case.acknowledged)
        checked += 1
        overtaken_s = started - soonest[place] if place < len(soonest) else 0.0
        longest_s = max(longest_s, overtaken_s)
        if overtaken_s > limit_s and overtaken_s > limit_s + PER_HIT_S * facts.impact.hits(case):
            found.append(Violation(f"later tasks ended for {overtaken_s:.1f} s before it was started", case))
    lacks = "" if facts.docket.has_marks else NO_MARKS
    return Ruling(checked, found, f"longest: {longest_s:.1f} s", lacks)


def _soonest_ends(cases: list[Case]) -> tuple[list[float], list[float]]:
    """When each task was submitted, in order; and at which moment the first of it and of all later ones came to its end."""
    spans = sorted(
        (case.invoked, min((run.ended for run in case.runs.values() if run.ended is not None), default=float("inf")))
        for case in cases
        if case.invoked is not None
    )
    soonest = [end for _, end in spans]
    for place in range(len(soonest) - 2, -1, -1):
        soonest[place] = min(soonest[place], soonest[place + 1])
    return [at for at, _ in spans], soonest
