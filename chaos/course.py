"""Core: the course of a run, as its client saw it: rates, latencies, and what faults cost against a run without them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from regrow.chaos.evidence import Evidence
from regrow.chaos.history import Op
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


def ended_at(ops: Iterable[Op]) -> dict[int, tuple[float, str]]:
    """Of each task by its number: when the client first saw its end, and which."""
    found: dict[int, tuple[float, str]] = {}
    for op in ops:
        if op.type == "ok" and op.action != "submit" and op.status in ENDED and op.number not in found:
            found[op.number] = op.at, op.status
    return found


def latencies_ms(ops: Sequence[Op]) -> dict[int, float]:
    """Of each task that ended: from when it was meant to be sent until the client saw its end."""
    ends = ended_at(ops)
    return {
        op.number: 1000 * (ends[op.number][0] - op.due)
        for op in ops
        if op.type == "invoke" and op.action == "submit" and op.due is not None and op.number in ends
    }


def bucket_s(evidence: Evidence) -> float:
    """A whole number of seconds, at least one, so that the timeline is not endless."""
    return float(max(1, math.ceil((evidence.finished - evidence.began) / MOST_BUCKETS)))


def buckets(evidence: Evidence, width_s: float) -> tuple[Bucket, ...]:
    count = int((evidence.finished - evidence.began) // width_s) + 1
    sent, done, failed = [0] * count, [0] * count, [0] * count
    waited: list[list[float]] = [[] for _ in range(count)]
    latency = latencies_ms(evidence.ops)

    def place(at: float) -> int:
        return min(count - 1, max(0, int((at - evidence.began) // width_s)))

    for op in evidence.ops:
        if op.type == "invoke" and op.action == "submit":
            sent[place(op.at)] += 1
    for number, (at, status) in ended_at(evidence.ops).items():
        (done if status == "COMPLETED" else failed)[place(at)] += 1
        if number in latency:
            waited[place(at)].append(latency[number])
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


def cost(evidence: Evidence, twin: Evidence) -> Cost:
    with_, without = (sorted(latencies_ms(it.ops).values()) or [0.0] for it in (evidence, twin))
    done, undisturbed = (
        sum(status == "COMPLETED" for _, status in ended_at(it.ops).values()) for it in (evidence, twin)
    )
    starts: dict[int, int] = defaultdict(int)
    for mark in evidence.marks:
        starts[mark.number] += mark.word == "start"
    return Cost(
        completed_ratio=done / undisturbed if undisturbed else 0.0,
        p50_ms=(percentile(without, 0.5), percentile(with_, 0.5)),
        p99_ms=(percentile(without, 0.99), percentile(with_, 0.99)),
        wasted_runs=sum(count - 1 for count in starts.values() if count > 1),
    )
