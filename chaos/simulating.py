"""Shell: many seeds of the simulator, each a world of its own; those that contradict a promise, and what all came to."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from regrow.chaos.simulation.drawing import Size, scenario
from regrow.chaos.simulation.scenario import Result
from regrow.chaos.simulation.simulation import simulate as run_seed

VALID: Final = 0
INVALID: Final = 1
SHOWN_LINES: Final = 40  # of a replayed trace, unless all is asked for


def run(console: Console, size: Size, numbers: range, processes: int) -> int:
    """All of these seeds; what is invalid is told at once."""
    began, cpu_s = time.monotonic(), time.process_time()
    results: list[Result] = []
    with _progress(console) as bar:
        row = bar.add_task("seeds", total=len(numbers))
        for result in _results(numbers, size, processes):
            bar.advance(row)
            results.append(_without_lines(result))
            if not result.is_valid:
                _say_invalid(console, result, size)
    _summarise(console, results, time.monotonic() - began, time.process_time() - cpu_s)
    return VALID if all(result.is_valid for result in results) else INVALID


def _results(numbers: range, size: Size, processes: int) -> Iterator[Result]:
    run = partial(run_seed, size=size)
    if processes <= 1:
        yield from map(run, numbers)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(run, numbers, chunksize=4)


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True)


def _without_lines(result: Result) -> Result:
    """So that a thousand of them are small."""
    return Result(**{name: getattr(result, name) for name in Result.__struct_fields__ if name != "lines"})


def _say_invalid(console: Console, result: Result, size: Size) -> None:
    console.print(
        f"[red]seed {result.seed}[/] {result.invariant} at {result.at_s:.3f} s: {result.detail}", highlight=False
    )
    console.print(f"  reproduce: regrow chaos simulate --replay {result.seed}{_flags(size)}", highlight=False)


def _flags(size: Size) -> str:
    given = {"tasks": size.tasks, "workers": size.workers, "hours": size.hours}
    return "".join(f" --{name} {value}" for name, value in given.items() if value is not None)


def _summarise(console: Console, results: list[Result], took_s: float, cpu_s: float) -> None:
    invalid = Counter(result.invariant for result in results if not result.is_valid)
    faults: Counter[str] = Counter()
    for result in results:
        for name, n in result.faults.items():
            faults[name.partition(" x ")[0]] += n
    events = sum(result.events for result in results)
    hours = sum(result.simulated_s for result in results) / 3600
    tasks, runs = sum(result.tasks for result in results), sum(result.runs for result in results)
    console.print(
        f"{len(results):,} seeds: {tasks:,} tasks, {runs:,} runs of them, {hours:,.1f} simulated hours", highlight=False
    )
    speed = events / max(took_s, 1e-9)
    console.print(
        f"{events:,} events in {took_s:,.1f} s ({speed:,.0f} a second; {cpu_s:,.1f} s of CPU here)", highlight=False
    )
    console.print("faults: " + ", ".join(f"{name} {n:,}" for name, n in sorted(faults.items())), highlight=False)
    if invalid:
        console.print("[red]invalid[/]: " + ", ".join(f"{name} {n:,}" for name, n in invalid.items()), highlight=False)
    else:
        console.print("[green]valid[/]: no invariant was contradicted", highlight=False)


def replay(console: Console, seed: int, size: Size, *, is_whole: bool) -> int:
    """The world of one seed, its faults, its last events or all, and its digest."""
    drawn = scenario(seed, size)
    facts = [
        f"{name} {getattr(drawn, name)}"
        for name in ("mode", "trees", "workers", "outsiders", "slots", "tasks", "burst", "is_wild")
    ]
    console.print(f"seed {seed}: " + ", ".join(facts) + f", {drawn.chaos_s:.1f} s of chaos", highlight=False)
    result = run_seed(seed, size, 0 if is_whole else SHOWN_LINES)
    for line in result.lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"{result.events:,} events, {result.tasks:,} tasks, digest {result.digest}", highlight=False)
    if result.is_valid:
        console.print("[green]valid[/]: no invariant was contradicted", highlight=False)
        return VALID
    console.print(f"[red]{result.invariant}[/] at {result.at_s:.6f} s: {result.detail}", highlight=False)
    return INVALID
