"""Core: how long each recovery took: from a fault to the end of each task that it hit, stage by stage, and as distributions.

::

    injected ──▶ detected ──▶ queued ──▶ running ──▶ finished
       │         child.down,   QUEUED     the next    its last
       │         child.overdue again      claim       move
    last beat (of silences: what the three seconds are counted from)

A stage that did not come to be (the attempt survived, say) is None, and counts in no distribution.  A percentile is by nearest
rank: a value that was measured, never one in between.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from regrow.chaos.docket import AGAIN, LAST, Case, Docket, Hold
from regrow.chaos.evidence import Distribution, Recovery, Sample, Strike
from regrow.chaos.history import ChildMove
from regrow.chaos.impact import SAME_S, SLACK_S, Impact, Reach, is_silence, reach

WITHIN_S: Final = 30.0  # after a fault, in which the death of its victim is laid to it
CALM_S: Final = 10.0  # after a fault is undone, in which a canary out of tolerance is laid to it
ENDINGS: Final = frozenset({"child.down", "child.overdue", "child.killed", "slot.down"})
STAGES: Final = ("detected", "queued", "running", "finished")
ALL: Final = "all/all"  # every fault and path together: what an expected bound is compared with
WORDS: Final = {"detect": "detected", "requeue": "queued", "run": "running", "finish": "finished"}

Path = Literal["sentinel", "heartbeat", "other"]


def recoveries(impact: Impact) -> tuple[Recovery, ...]:
    """One for each strike and task that it had in hand, faults that no task in hand can feel left out."""
    deaths = _Deaths(impact)
    return tuple(
        _recovery(impact, strike, hold, deaths)
        for strike, holds in impact.struck
        if reach(strike) is not Reach.NOTHING
        for hold in holds
    )


def _recovery(impact: Impact, strike: Strike, hold: Hold, deaths: "_Deaths") -> Recovery:
    case = impact.docket.cases[hold.number]
    is_lost = impact.took(strike, hold)
    death = deaths.after(strike)
    lost_at = hold.released if is_lost else None
    queued = lost_at if hold.by in AGAIN else None
    later = [other.claimed for other in case.holds if queued is not None and other.claimed >= queued]
    return Recovery(
        strike.step,
        strike.fault,
        _path(strike, death, is_lost=is_lost),
        case.ids[0] if case.ids else str(case.number),
        strike.applied_at or 0.0,
        strike.last_beat_at,
        death.at if death is not None else lost_at,
        queued,
        min(later, default=None),
        _finished(case),
    )


def _path(strike: Strike, death: ChildMove | None, *, is_lost: bool) -> Path:
    if death is not None:
        is_silent = death.event == "child.overdue" or death.reason.startswith("heartbeat_lost")
        return "heartbeat" if is_silent else "sentinel"
    return "heartbeat" if is_lost and is_silence(strike) else "other"


def _finished(case: Case) -> float | None:
    ends = [move.at for move in case.moves if move.move in LAST]
    return ends[0] if ends else next((seen.op.at for seen in case.ends), None)


class _Deaths:
    """What the record says of the ends of processes, by place."""

    def __init__(self, impact: Impact) -> None:
        self._impact = impact
        self._by_path: dict[str, list[ChildMove]] = defaultdict(list)
        self._ups: dict[str, list[float]] = defaultdict(list)
        for move in impact.docket.children:
            if move.event in ENDINGS:
                self._by_path[move.path].append(move)
            elif move.event == "child.up":
                self._ups[move.path].append(move.at)

    def after(self, strike: Strike) -> ChildMove | None:
        """The first word of the end of its victim; of one that was only silent, while it was."""
        if strike.victim is None:
            return None
        at = strike.applied_at or 0.0
        until = self._impact.over(strike) + SLACK_S if is_silence(strike) else at + WITHIN_S
        near = (move for move in self._by_path[strike.victim.path] if at - SAME_S <= move.at <= until)
        return next((move for move in near if move.incarnation <= strike.victim.incarnation), None)

    def up_after(self, death: ChildMove) -> float | None:
        """When its place was filled again."""
        ups = self._ups[death.path]
        place = bisect_left(ups, death.at)
        return ups[place] if place < len(ups) else None


def distributions(impact: Impact, found: Sequence[Recovery]) -> dict[str, Distribution]:
    """By "fault/path/stage" from the injection, and "all/all/stage"; "queued-running" is the wait in the queue alone.

    Of silences also "since-beat-detected" and "since-beat-queued".  "FAULT/path/capacity": until the victim's place was filled;
    "FAULT/other/service": until a canary was in tolerance for good.
    """
    times: dict[str, list[float]] = defaultdict(list)
    for recovery in found:
        for stage, took_s in _stages(recovery):
            times[f"{recovery.fault}/{recovery.path}/{stage}"].append(took_s)
            times[f"{ALL}/{stage}"].append(took_s)
    for strike, path, stage, took_s in _services(impact):
        times[f"{strike.fault}/{path}/{stage}"].append(took_s)
        times[f"{ALL}/{stage}"].append(took_s)
    return {key: distribution(values) for key, values in sorted(times.items())}


def _stages(recovery: Recovery) -> Iterator[tuple[str, float]]:
    stages = (recovery.detected, recovery.queued, recovery.running, recovery.finished)
    for stage, at in zip(STAGES, stages, strict=True):
        if at is not None:
            yield stage, max(0.0, at - recovery.injected)
    if recovery.queued is not None and recovery.running is not None:
        yield "queued-running", recovery.running - recovery.queued
    if recovery.last_beat is not None:
        for stage, at in zip(STAGES[:2], stages[:2], strict=True):
            if at is not None:
                yield f"since-beat-{stage}", at - recovery.last_beat


def _services(impact: Impact) -> Iterator[tuple[Strike, Path, str, float]]:
    """Of every applied fault: its victim's place filled, and the canary in tolerance again."""
    docket = impact.docket
    deaths = _Deaths(impact)
    canaries = _canaries(docket)
    for place, strike in enumerate(docket.strikes):
        death = deaths.after(strike)
        up = deaths.up_after(death) if death is not None else None
        if death is not None and up is not None:
            yield strike, _path(strike, death, is_lost=False), "capacity", up - (strike.applied_at or 0.0)
        following = docket.strikes[place + 1].applied_at if place + 1 < len(docket.strikes) else None
        restored = _service(strike, canaries, min(following or math.inf, impact.over(strike) + CALM_S))
        if restored is not None:
            yield strike, "other", "service", restored


def _canaries(docket: Docket) -> list[Sample]:
    names = {probe.name for probe in docket.evidence.experiment.hypothesis.probes if probe.type == "task"}
    return sorted((it for it in docket.evidence.samples if it.probe in names), key=lambda sample: sample.at)


def _service(strike: Strike, canaries: Sequence[Sample], until: float) -> float | None:
    """Seconds until the first good canary after the last bad one, which may have been under way at the strike; 0: none was bad.

    None: nobody looked in time, or none was good again.
    """
    at = strike.applied_at or 0.0
    first = bisect_left(canaries, at, key=lambda sample: sample.at)
    bad = [
        place
        for place in range(bisect_left(canaries, at, key=_ended), len(canaries))
        if canaries[place].at <= until and not canaries[place].is_tolerable
    ]
    if not bad:
        return 0.0 if first < len(canaries) and canaries[first].at <= until else None
    return next((max(0.0, it.at - at) for it in canaries[bad[-1] + 1 :] if it.is_tolerable), None)


def _ended(sample: Sample) -> float:
    return sample.at + sample.took_s


def distribution(values: Iterable[float]) -> Distribution:
    """Of at least one value."""
    kept = tuple(sorted(values))
    return Distribution(
        len(kept),
        kept[0],
        percentile(kept, 0.5),
        percentile(kept, 0.9),
        percentile(kept, 0.99),
        kept[-1],
        kept,
    )


def percentile(values: Sequence[float], part: float) -> float:
    """By nearest rank, of sorted values."""
    return values[max(1, math.ceil(part * len(values))) - 1]


def measured(name: str, found: dict[str, Distribution]) -> float | None:
    """What an expected bound such as ``detect_p99`` is compared with, over all faults; None: nothing of it was measured.

    Raises KeyError for a name that means nothing.
    """
    stage, _, part = name.rpartition("_")
    parts = {"min": "least", "p50": "p50", "p90": "p90", "p99": "p99", "max": "most"}
    field = parts[part]
    if stage not in {*WORDS, "service", "capacity"}:
        raise KeyError(name)
    seen = found.get(f"{ALL}/{WORDS.get(stage, stage)}")
    return float(getattr(seen, field)) if seen is not None else None


BOUND_NAMES: Final = tuple(
    f"{stage}_{part}" for stage in (*WORDS, "service", "capacity") for part in ("min", "p50", "p90", "p99", "max")
)
