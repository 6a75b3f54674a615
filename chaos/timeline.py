"""Core: the whole story of one task, or of one actor, out of all sources: what makes a counter-example worth reading.

Of faults and of what happened to processes only what can concern it is told: it fell into its life, and into its worker's or
into everybody's.  Reads that say the same again are told once.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from regrow.chaos.docket import ENDED, Case, Docket, name_of
from regrow.chaos.evidence import Moment, Strike
from regrow.chaos.history import ChildMove, Mark, Op, TaskMove
from regrow.chaos.impact import AFTER_S, SLACK_S, Impact, Reach, reach

MOST: Final = 200  # moments of one timeline: its beginning and its end are kept


def of_task(case: Case, impact: Impact) -> tuple[Moment, ...]:
    """Everything that is known of it, in order of time."""
    docket = impact.docket
    moves = case.moves or [move for task_id in case.ids for move in docket.strangers.get(task_id, [])]
    told = [
        *_asked(case.ops),
        *(Moment(mark.at, "witness", _mark(mark)) for mark in case.marks),
        *(Moment(move.at, "record", _move(move)) for move in moves),
    ]
    workers = {name_of(move.worker) for move in moves if move.worker}
    checks = (
        {op.at for op in case.ops if op.action == "final"} if case.ends else set()
    )  # later, and no part of its life
    life = [moment.at for moment in told if moment.at not in checks]
    told += _around(life, workers, impact)
    return _cut(sorted(told, key=lambda moment: moment.at))


def of_stranger(moves: Iterable[TaskMove]) -> tuple[Moment, ...]:
    """What the record has of a task that nobody submitted."""
    return _cut([Moment(move.at, "record", _move(move)) for move in moves])


def of_actor(path: str, docket: Docket) -> tuple[Moment, ...]:
    """What happened to the process at that place, and what was done to it."""
    told = [Moment(move.at, "record", _child(move)) for move in docket.children if move.path == path]
    told += [moment for it in docket.strikes if it.victim and it.victim.path == path for moment in _strike(it)]
    return _cut(sorted(told, key=lambda moment: moment.at))


def _cut(told: list[Moment]) -> tuple[Moment, ...]:
    if len(told) <= MOST:
        return tuple(told)
    left_out = Moment(told[MOST // 2].at, "nemesis", f"({len(told) - MOST} moments are left out here)")
    return (*told[: MOST // 2], left_out, *told[-MOST // 2 :])


def _asked(ops: Iterable[Op]) -> Iterator[Moment]:
    """The client's calls; the invoke of a read goes without saying, and so does an answer that was there before."""
    last: tuple[str, str, str] | None = None
    for op in ops:
        if op.type == "invoke" and op.action != "submit":
            continue
        seen = (op.status, op.digest, op.problem)
        if op.action == "read" and seen == last:
            continue
        last = seen if op.action != "submit" else last
        yield Moment(op.at, "client", _op(op))


def _op(op: Op) -> str:
    match op.action, op.type:
        case "submit", "invoke":
            return "submit sent"
        case "submit", "ok":
            return f"submit acknowledged as {op.task_id}"
        case action, "ok":
            return f"{action}: {op.status}{_ending(op)}"
        case action, "fail":
            return f"{action} refused: {op.problem}"
        case action, _:
            return f"{action} without an answer: {op.problem}"


def _ending(op: Op) -> str:
    if op.status not in ENDED:
        return ""
    parts = [op.error_kind, f"value {_short(op.value)}" if op.value else "", f"by run {op.run}" if op.run else ""]
    return f" ({', '.join([part for part in parts if part] + [f'outcome {op.digest}'])})"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _mark(mark: Mark) -> str:
    word = {"start": "started", "end": "came to its end", "raise": "is about to raise"}[mark.word]
    return f"run {mark.run} {word} in process {mark.pid}"


def _move(move: TaskMove) -> str:
    return " ".join(
        [f"{move.move}, attempt {move.attempt}", *([f"at {move.worker}"] if move.worker else []), move.why]
    ).strip()


def _child(move: ChildMove) -> str:
    reason = f": {move.reason}" if move.reason else ""
    return f"{move.event} {move.path}, incarnation {move.incarnation}{reason}"


def _strike(strike: Strike) -> Iterator[Moment]:
    whom = strike.victim.path if strike.victim else str(strike.options.get("link", "")) or "the machine"
    at = strike.applied_at or 0.0
    detail = strike.detail.removeprefix(f"{whom}, ")
    yield Moment(at, "nemesis", f"{strike.fault} on {whom}" + (f": {detail}" if detail else ""))
    if strike.undone_at is not None and strike.undone_at > at:
        yield Moment(strike.undone_at, "nemesis", f"{strike.fault} on {whom} undone")


def _around(life: list[float], workers: set[str], impact: Impact) -> Iterator[Moment]:
    """Faults and ends of processes in that time that can have to do with a task of these workers."""
    if not life:
        return
    since, until = min(life) - SLACK_S, max(life) + SLACK_S
    for strike in impact.docket.strikes:
        is_meant = reach(strike) is not Reach.WORKER or strike.worker in workers or not workers
        if is_meant and (strike.applied_at or 0.0) <= until and impact.over(strike) >= since - AFTER_S:
            yield from _strike(strike)
    for move in impact.docket.children:
        if since <= move.at <= until and (
            move.path.rpartition("/")[2] in workers or move.event == "supervisor.gave_up"
        ):
            yield Moment(move.at, "record", _child(move))
