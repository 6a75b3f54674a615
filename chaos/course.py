"""Core: the course of a run, as its client saw it: rates, latencies, and what faults cost against a run without them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from regrow.chaos.evidence import Evidence
from regrow.chaos.history import Mark, Op
from regrow.chaos.recovery import percentile

ENDED: Final = ("COMPLETED", "FAILED")
MOST_BUCKETS: Final = 240  # of a timeline; a longer run has wider ones


class Bucket(msgspec.Struct, frozen=True):
    """One stretch of the timeline; rates per second, latencies in milliseconds from the intended send time of tasks that ended in it."""

    at_s: float
    submitted: float
    completed: float
    failed: float
    p50_ms: float | None = None
    p99_ms: float | None = None


class Cost(msgspec.Struct, frozen=True):
    """Against a run of the same seed without faults."""

    completed_ratio: float
    p50_ms: tuple[float, float]  # without, with faults
    p99_ms: tuple[float, float]
    wasted_runs: int  # starts beyond the first of a task


class Seen(NamedTuple):
    """What the client saw of each task that ended, by its number."""

    ends: dict[int, tuple[float, str]]
    latencies_ms: dict[int, float]  # from when it was meant to be sent until its end was seen

    @property
    def completed(self) -> int:
        """How many ended well."""
        return sum(status == "COMPLETED" for _, status in self.ends.values())


def ended_at(ops: Iterable[Op]) -> dict[int, tuple[float, str]]:
    """Of each task by its number: when the client first saw its end, and which."""
    found: dict[int, tuple[float, str]] = {}
    for op in ops:
        if op.type == "ok" and op.action != "submit" and op.status in ENDED and op.number not in found:
            found[op.number] = op.at, op.status
    return found


def seen(ops: Sequence[Op]) -> Seen:
    """Every end and latency of a run, found once for all that is told of it."""
    ends = ended_at(ops)
    latencies_ms = {
        op.number: 1000 * (ends[op.number][0] - op.due)
        for op in ops
        if op.type == "invoke" and op.action == "submit" and op.due is not None and op.number in ends
    }
    return Seen(ends, latencies_ms)


def bucket_s(evidence: Evidence) -> float:
    """A whole number of seconds, at least one, so that the timeline is not endless."""
    return float(max(1, math.ceil((evidence.finished - evidence.began) / MOST_BUCKETS)))


def buckets(evidence: Evidence, width_s: float, course: Seen) -> tuple[Bucket, ...]:
    count = int((evidence.finished - evidence.began) // width_s) + 1
    sent, done, failed = [0] * count, [0] * count, [0] * count
    waited: list[list[float]] = [[] for _ in range(count)]

    def place(at: float) -> int:
        return min(count - 1, max(0, int((at - evidence.began) // width_s)))

    for op in evidence.ops:
        if op.type == "invoke" and op.action == "submit":
            sent[place(op.at)] += 1
    for number, (at, status) in course.ends.items():
        (done if status == "COMPLETED" else failed)[place(at)] += 1
        if number in course.latencies_ms:
            waited[place(at)].append(course.latencies_ms[number])
    return tuple(
        Bucket(
            number * width_s,
            sent[number] / width_s,
            done[number] / width_s,
            failed[number] / width_s,
            *(_both(sorted(waited[number])) if waited[number] else (None, None)),
        )
        for number in range(count)
    )


def _both(values: Sequence[float]) -> tuple[float, float]:
    return percentile(values, 0.5), percentile(values, 0.99)


def cost(marks: Iterable[Mark], course: Seen, twin: Seen) -> Cost:
    """``marks`` and ``course``: of the run with faults; ``twin``: of the one without."""
    with_, without = (sorted(it.latencies_ms.values()) or [0.0] for it in (course, twin))
    starts: dict[int, int] = defaultdict(int)
    for mark in marks:
        starts[mark.number] += mark.word == "start"
    return Cost(
        completed_ratio=course.completed / twin.completed if twin.completed else 0.0,
        p50_ms=(percentile(without, 0.5), percentile(with_, 0.5)),
        p99_ms=(percentile(without, 0.99), percentile(with_, 0.99)),
        wasted_runs=sum(count - 1 for count in starts.values() if count > 1),
    )
