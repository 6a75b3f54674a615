"""Core: the report's pictures, as SVG that takes its colours from the page (classes, no styles of its own).

Every picture has a viewBox and no size, so it is as wide as its place.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Final

from regrow.chaos.course import Bucket
from regrow.chaos.evidence import Distribution
from regrow.chaos.report import FaultLine, Report

WIDTH: Final = 1000
LEFT, RIGHT, TOP = 56, 12, 18
PANEL: Final = 120  # height of one panel
GAP: Final = 26
LANE: Final = 14  # height of one line of faults
BARS: Final = 24  # of a histogram

Scale = Callable[[float], float]


def timeline(report: Report) -> str:
    """Throughput, latency, and every fault, above one axis of seconds."""
    end_s = max(report.took_s, 1.0)
    lanes = _lanes(report.faults, end_s)
    depth = 1 + max(lanes.values(), default=0)
    faults_top = TOP + 2 * (PANEL + GAP)
    height = faults_top + depth * LANE + 34

    def x(at_s: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(at_s / end_s, 0.0), 1.0)

    parts = [
        _svg(height, "Throughput, latency and faults over time"),
        *_guides(report.faults, x, TOP, faults_top + depth * LANE),
        *_throughput(report.buckets, report.bucket_s, x, TOP),
        *_latency(report.buckets, report.bucket_s, x, TOP + PANEL + GAP),
        *_fault_marks(report.faults, lanes, x, faults_top),
        *_seconds(end_s, x, faults_top + depth * LANE + 6, report.method_s),
        "</svg>",
    ]
    return "".join(parts)


def histogram(it: Distribution) -> str:
    """How often it took how long; the axis is logarithmic, since one slow recovery among fast ones is what matters."""
    least, most = max(it.least, 1e-4), max(it.most, 2e-4)
    low, high = math.floor(math.log10(least) * 4) / 4, math.ceil(math.log10(most) * 4 + 0.01) / 4
    counts = [0] * BARS
    for value in it.values:
        counts[min(BARS - 1, int((math.log10(max(value, least)) - low) / (high - low) * BARS))] += 1
    width = (WIDTH - LEFT - RIGHT) / BARS
    top = max(counts)

    def at(place: float) -> float:
        return float(10 ** (low + place / BARS * (high - low)))

    bars = [
        f'<rect class="bar" x="{LEFT + place * width + 1:.1f}" y="{TOP + 80 * (1 - count / top):.1f}" width="{width - 2:.1f}" '
        f'height="{80 * count / top:.1f}"><title>{count} times about {seconds(at(place + 0.5))}</title></rect>'
        for place, count in enumerate(counts)
        if count
    ]
    marks = [
        f'<text class="tick" x="{LEFT + share * (WIDTH - LEFT - RIGHT):.1f}" y="{TOP + 98}" text-anchor="{anchor}">'
        f"{seconds(at(share * BARS))}</text>"
        for share, anchor in ((0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1, "end"))
    ]
    return _svg(TOP + 106, "Histogram") + "".join(bars) + "".join(marks) + "</svg>"


def seconds(value: float) -> str:
    """A duration for people."""
    if value < 0.0995:
        return f"{value * 1000:.3g} ms"
    return f"{value:.2f} s" if value < 9.95 else f"{value:,.0f} s"


def _svg(height: float, title: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'


def _throughput(buckets: Sequence[Bucket], bucket_s: float, x: Scale, top: float) -> list[str]:
    most = max([1.0, *(max(it.submitted, it.completed + it.failed) for it in buckets)])

    def y(value: float) -> float:
        return top + PANEL * (1 - value / most)

    return [
        *_grid(top, "tasks/s", y, [most / 2, most]),
        _steps([(it.at_s, it.submitted) for it in buckets], bucket_s, x, y, "submitted"),
        _steps([(it.at_s, it.completed) for it in buckets], bucket_s, x, y, "completed"),
        _steps([(it.at_s, it.failed) for it in buckets], bucket_s, x, y, "failed"),
    ]


def _latency(buckets: Sequence[Bucket], bucket_s: float, x: Scale, top: float) -> list[str]:
    values = [value for it in buckets for value in (it.p50_ms, it.p99_ms) if value is not None and value > 0]
    low, high = math.floor(math.log10(min(values, default=1))), math.ceil(math.log10(max(values, default=10)) + 1e-9)
    high = max(high, low + 1)

    def y(value: float) -> float:
        return top + PANEL * (1 - (math.log10(max(value, 10**low)) - low) / (high - low))

    lines = [
        _line(
            [(it.at_s + bucket_s / 2, value) for it in buckets if (value := getattr(it, name)) is not None], x, y, name
        )
        for name in ("p50_ms", "p99_ms")
    ]
    return [*_grid(top, "latency", y, [10**power for power in range(low, high + 1)], in_ms=True), *lines]


def _grid(top: float, title: str, y: Scale, ticks: Iterable[float], *, in_ms: bool = False) -> list[str]:
    parts = [f'<text class="panel" x="{LEFT}" y="{top - 6:.1f}">{title}</text>']
    for tick in ticks:
        label = seconds(tick / 1000) if in_ms else f"{tick:,.0f}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{label}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top + PANEL}" y2="{top + PANEL}"/>')
    return parts


def _steps(points: Sequence[tuple[float, float]], bucket_s: float, x: Scale, y: Scale, name: str) -> str:
    """A line of steps, one a bucket."""
    path = " ".join(
        f"{'M' if place == 0 else 'L'}{x(at_s):.1f},{y(value):.1f} L{x(at_s + bucket_s):.1f},{y(value):.1f}"
        for place, (at_s, value) in enumerate(points)
    )
    return f'<path class="series {name}" d="{path}"/>' if path else ""


def _line(points: Sequence[tuple[float, float]], x: Scale, y: Scale, name: str) -> str:
    path = " ".join(
        f"{'M' if place == 0 else 'L'}{x(at_s):.1f},{y(value):.1f}" for place, (at_s, value) in enumerate(points)
    )
    return f'<path class="series {name}" d="{path}"/>' if path else ""


def _lanes(faults: Sequence[FaultLine], end_s: float) -> dict[int, int]:
    """By step: the line on which a fault is drawn, so that no two of them overlap."""
    free_at: list[float] = []
    found: dict[int, int] = {}
    for fault in sorted(faults, key=lambda it: it.planned_s):
        begin_s = _begin_s(fault)
        lane = next((lane for lane, at_s in enumerate(free_at) if at_s <= begin_s), len(free_at))
        free_at[lane : lane + 1] = [max(fault.undone_s or begin_s, begin_s + end_s * 0.024)]
        found[fault.step] = lane
    return found


def _begin_s(fault: FaultLine) -> float:
    return fault.planned_s if fault.applied_s is None else fault.applied_s


def _guides(faults: Sequence[FaultLine], x: Scale, top: float, bottom: float) -> list[str]:
    """A faint line through all panels at every fault; a band while it lasted."""
    parts = []
    for fault in faults:
        if fault.missed:
            continue
        begin, end = x(_begin_s(fault)), x(fault.undone_s or _begin_s(fault))
        if end - begin > 1:
            parts.append(
                f'<rect class="band" x="{begin:.1f}" y="{top}" width="{end - begin:.1f}" height="{bottom - top}"/>'
            )
        parts.append(f'<line class="guide" x1="{begin:.1f}" x2="{begin:.1f}" y1="{top}" y2="{bottom}"/>')
    return parts


def _fault_marks(faults: Sequence[FaultLine], lanes: dict[int, int], x: Scale, top: float) -> list[str]:
    parts = [f'<text class="panel" x="{LEFT}" y="{top - 4}">faults</text>']
    for fault in faults:
        kind = "missed" if fault.missed else "hit" if fault.hits else "done"
        begin, y = x(_begin_s(fault)), top + lanes[fault.step] * LANE
        width = max(20.0, x(fault.undone_s or 0.0) - begin)
        told = f"{fault.step}: {fault.fault} {fault.who} at {_begin_s(fault):.1f} s; {fault.detail}"
        parts.append(
            f'<g class="mark {kind}"><title>{escape(told)}</title><rect x="{begin:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{LANE - 2}" rx="2"/><text x="{begin + 3:.1f}" y="{y + LANE - 4:.1f}">{fault.step}</text></g>'
        )
    return parts


def _seconds(end_s: float, x: Scale, top: float, method_s: float) -> list[str]:
    """The axis, and where the method ended and the settling began."""
    step = next((step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800) if end_s / step <= 13), 3600)
    parts = [
        f'<text class="tick" x="{x(at_s):.1f}" y="{top + 12}" text-anchor="middle">{at_s} s</text>'
        for at_s in range(0, int(end_s) + 1, step)
    ]
    parts.append(f'<line class="settle" x1="{x(method_s):.1f}" x2="{x(method_s):.1f}" y1="{TOP}" y2="{top}"/>')
    parts.append(f'<text class="tick" x="{x(method_s) - 4:.1f}" y="{TOP - 6}" text-anchor="end">settling ▸</text>')
    return parts
