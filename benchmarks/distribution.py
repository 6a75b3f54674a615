"""Distributions of times: percentiles for a table, and curves for a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

COLOURS: Final = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 760, 260, 56, 40, 36  # of one panel, in pixels


@dataclass(frozen=True)
class Panel:
    """One plot: how many per cent were over after how many milliseconds."""

    title: str
    curves: Mapping[str, Sequence[float]]  # label -> milliseconds
    promise_ms: float | None = None


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that ``percent`` per cent of ``values`` do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def row(name: str, values: Sequence[float]) -> tuple[str, ...]:
    """A line of a table: n, min, p50, p90, p99, max, in milliseconds."""
    figures = [min(values), *(percentile(values, p) for p in (50, 90, 99)), max(values)]
    return (name, str(len(values)), *(f"{value:,.0f}" for value in figures))


def svg(panels: Sequence[Panel]) -> str:
    """The panels below each other, as one picture that needs nothing else."""
    height = HEIGHT * len(panels)
    body = "".join(_panel(panel, at * HEIGHT) for at, panel in enumerate(panels))
    style = "text{font:12px sans-serif;fill:#555}.t{font-size:14px;fill:#222}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
        f'<style>{style}</style><rect width="100%" height="100%" fill="#fff"/>{body}</svg>\n'
    )


def _panel(panel: Panel, y: int) -> str:
    values = [value for curve in panel.curves.values() for value in curve]
    low, high = min(values), max(*values, panel.promise_ms or 0)
    margin = 0.06 * (high - low) or 1.0
    low, high = max(0.0, low - margin), high + margin

    def across(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - 24)

    def up(percent: float) -> float:
        return y + HEIGHT - BOTTOM - percent / 100 * (HEIGHT - BOTTOM - TOP)

    parts = [f'<text class="t" x="{LEFT}" y="{y + 20}">{panel.title}</text>']
    for percent in (0, 25, 50, 75, 100):
        parts.append(f'<path d="M{LEFT} {up(percent):.1f}H{WIDTH - 24}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{up(percent) + 4:.1f}" text-anchor="end">{percent} %</text>')
    for tick in _ticks(low, high):
        label = f'<text x="{across(tick):.1f}" y="{y + HEIGHT - 20}" text-anchor="middle">{tick:,g} ms</text>'
        parts.append(label)
    if panel.promise_ms is not None:
        x = across(panel.promise_ms)
        parts.append(f'<path d="M{x:.1f} {up(100):.1f}V{up(0):.1f}" stroke="#222" stroke-dasharray="4 4"/>')
        parts.append(f'<text x="{x - 4:.1f}" y="{up(6):.1f}" text-anchor="end">promised</text>')
    for at, (label, curve) in enumerate(panel.curves.items()):
        ordered = sorted(curve)
        points = [(across(value), up(100 * (n + 1) / len(ordered))) for n, value in enumerate(ordered)]
        path = f"M{points[0][0]:.1f} {up(0):.1f}" + "".join(f"L{px:.1f} {py:.1f}" for px, py in points)
        parts.append(f'<path d="{path}" fill="none" stroke="{COLOURS[at]}" stroke-width="2"/>')
        parts.append(
            f'<text x="{WIDTH - 28}" y="{up(40 - 12 * at):.1f}" text-anchor="end" style="fill:{COLOURS[at]}">{label}</text>'
        )
    return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers in between, about six."""
    step = 10.0 ** len(str(int(high - low))) / 10
    while (high - low) / step < 4:
        step /= 2
    first = -(-low // step) * step
    return [first + n * step for n in range(int((high - first) // step) + 1)]
