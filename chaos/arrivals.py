"""Core: when each submit of a workload is due, and which kind of task it is; fixed before the first one is sent.

An open loop: the arrivals never wait for answers. A tree that stalls meets the same submits as one that does not, and the
stall shows in latencies that are counted from these times (a closed loop would wait with it, and hide it).
"""

import math
from collections.abc import Iterator
from itertools import accumulate, count, takewhile

from regrow.chaos.dice import fraction
from regrow.chaos.experiment import Arrivals, Workload


def dues(workload: Workload, seed: int) -> Iterator[float]:
    """Seconds from the start at which submits are due, in order, all before ``duration_s``."""
    if workload.rate <= 0:
        return iter(())
    return takewhile(lambda due: due < workload.duration_s, _endless(workload, seed))


def kind_of(workload: Workload, seed: int, number: int) -> str:
    """The kind of the task with this number: each by its share of the mix."""
    total = sum(workload.mix.values())
    at = fraction(seed, "kind", number) * total
    for kind, share in workload.mix.items():
        at -= share
        if at < 0:
            return kind
    return next(kind for kind, share in reversed(workload.mix.items()) if share > 0)  # what rounding has left over


def _endless(workload: Workload, seed: int) -> Iterator[float]:
    match workload.arrivals:
        case Arrivals.CONSTANT:
            return (number / workload.rate for number in count())
        case Arrivals.POISSON:
            return accumulate(_gap(seed, number) / workload.rate for number in count())
        case Arrivals.BURSTS:
            return (number // workload.burst * workload.burst / workload.rate for number in count())
        case Arrivals.RAMP:
            return _ramp(workload)


def _gap(seed: int, number: int) -> float:
    """Between two submits of a Poisson process with rate 1."""
    return -math.log(1.0 - fraction(seed, "gap", number))


def _ramp(workload: Workload) -> Iterator[float]:
    """Where the number that should have arrived, ``rate * t + growth * t ** 2 / 2``, reaches 0, 1, 2 ..."""
    first = workload.rate
    last = first if workload.rate_to is None else workload.rate_to
    growth = (last - first) / workload.duration_s
    if growth == 0:
        yield from (number / first for number in count())
    for number in count():
        under_root = first**2 + 2 * growth * number
        if under_root < 0:
            return  # the rate has come down to nothing before
        yield 2 * number / (first + math.sqrt(under_root)) if number else 0.0
