"""Shell: a run on a terminal, live: where it is, what the workload and the faults do, how the steady state is.

It is drawn in place, four times a second, and goes at the end: what stands then is the verdict, and whatever was said.  It has at most
as many lines as the terminal, since more could not be taken back.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from regrow.chaos.evidence import Sample, Strike
from regrow.chaos.experiment import Experiment, Plan
from regrow.chaos.narrator import PHASES, Narrator, shown, struck, who
from regrow.chaos.progress import Count, Entered, Observer, Phase, Said, Sampled, Struck, Undone, Word

WIDEST: Final = 100  # columns: longer lines are hard to read
RATE_OVER_S: Final = 10.0
STRIKES: Final = 6  # the last so many are shown, where there is room
OTHER_LINES: Final = 9  # of the view, at most
FRAMES_PER_S: Final = 4
BOUNDED: Final = {Phase.SETTLE}  # ends as soon as it can; its time is the longest that it may take


@contextmanager
def watching(console: Console, experiment: Experiment, planned: Plan) -> Iterator[Observer]:
    """Whoever shows this run: a live view on a terminal, else a line for each thing that happens."""
    if not console.is_interactive:
        yield Narrator(console, experiment)
        return
    with LiveView(Console(file=console.file, highlight=False), experiment, planned) as view:
        yield view


class LiveView:
    """An observer that draws.  It is told things by one thread and drawn by another."""

    def __init__(
        self, console: Console, experiment: Experiment, planned: Plan, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._experiment = experiment
        self._planned = planned
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock()
        self._phase = Entered(Phase.START, self._began)
        self._method_at: float | None = None
        self._counts: deque[Count] = deque([Count(self._began, 0, 0, 0)])
        self._strikes: list[Strike] = []
        self._samples: dict[str, Sample] = {}
        self._live = Live(console=console, get_renderable=self.drawn, refresh_per_second=FRAMES_PER_S, transient=True)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._live.stop()
        finally:
            self._console.show_cursor()  # even if somebody does not wait for the stop

    def __call__(self, word: Word) -> None:
        """Take note of it; what is said is to stay on the screen."""
        if isinstance(word, Said):
            self._console.print(escape(word.text))
            return
        with self._lock:
            self._note(word)

    def _note(self, word: Entered | Struck | Undone | Sampled | Count) -> None:
        match word:
            case Entered(phase=phase, at=at):
                self._phase = word
                if phase is Phase.METHOD:
                    self._method_at = at
            case Struck(strike=strike):
                self._strikes.append(strike)
            case Undone(strike=strike):
                self._strikes = [strike if _is_same(strike, other) else other for other in self._strikes]
            case Sampled(sample=sample):
                self._samples[sample.probe] = sample
            case Count(at=at):
                self._counts.append(word)
                while self._counts[0].at < at - RATE_OVER_S and len(self._counts) > 2:
                    self._counts.popleft()

    def drawn(self) -> RenderableType:
        """As of now."""
        with self._lock:
            now = self._clock()
            parts: list[Text | Table] = [self._phase_line(), self._bar(now), self._tasks(), self._faults()]
            parts.append(self._last_strikes())
            if self._experiment.hypothesis.probes:
                parts.append(self._probes())
        return Panel(
            Group(*parts),
            title=f"[bold]{escape(self._experiment.title)}[/]",
            subtitle=f"seed {self._planned.seed}, {_minutes(now - self._began)}",
            width=min(self._console.width, WIDEST),
            border_style="dim",
        )

    def _phase_line(self) -> Text:
        return Text.assemble(
            (self._phase.phase, "bold"), f": {PHASES[self._phase.phase]}", no_wrap=True, overflow="ellipsis"
        )

    def _bar(self, now: float) -> Table:
        """How much of the phase is over; where nobody knows how long it takes, only that something goes on."""
        spent_s, within_s = now - self._phase.at, self._phase.within_s
        if within_s is not None and spent_s > within_s:
            within_s = None  # it takes longer than was known, as a start does on a busy machine
        left_s = None if within_s is None else within_s - spent_s
        bar = ProgressBar(within_s, spent_s, pulse=within_s is None, animation_time=now)
        upto = "at most " if self._phase.phase in BOUNDED else ""
        told = f"{spent_s:.0f} s" if left_s is None else f"{spent_s:.0f} s, {upto}{left_s:.0f} s left"
        row = Table.grid(expand=True, padding=(0, 2, 0, 0))
        row.add_column(ratio=1)
        row.add_column(justify="right", no_wrap=True)
        row.add_row(bar, told)
        return row

    def _tasks(self) -> Text:
        first, last = self._counts[0], self._counts[-1]
        over_s = (last.at - first.at) or 1.0
        told = [
            f"{getattr(last, name)} {name} ({(getattr(last, name) - getattr(first, name)) / over_s:.1f}/s)"
            for name in ("sent", "acknowledged", "ended")
        ]
        return _line("tasks", ", ".join(told))

    def _faults(self) -> Text:
        done = {strike.step for strike in self._strikes if strike.applied_at is not None}
        missed = {strike.step for strike in self._strikes} - done
        found = _line("faults", f"{len(done)} of {len(self._planned.steps)} done, ")
        found.append(f"{self._counts[-1].outstanding} not undone yet, ")
        return found.append(f"{len(missed)} missed", "yellow" if missed else "")

    def _last_strikes(self) -> Table:
        """Their times are those of the plan: seconds of the method."""
        table = Table.grid(expand=True, padding=(0, 2, 0, 0))
        table.add_column(justify="right", width=11)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for strike in self._strikes[-max(1, min(STRIKES, self._console.height - OTHER_LINES)) :]:
            at_s = (strike.applied_at or strike.planned_at) - (self._method_at or self._began)
            table.add_row(f"{at_s:9.1f} s", _told(strike))
        return table

    def _probes(self) -> Text:
        found = _line("probes", "")
        for place, probe in enumerate(self._experiment.hypothesis.probes):
            found.append(", " if place else "").append(f"{probe.name} ")
            found.append_text(_state(self._samples.get(probe.name)))
        return found


def _line(name: str, told: str) -> Text:
    return Text.assemble((f"{name:8}", "bold"), told, no_wrap=True, overflow="ellipsis")


def _told(strike: Strike) -> str:
    if strike.applied_at is None or strike.undone_at is None:
        return struck(strike)
    return f"[dim]{strike.fault}{who(strike)}: undone after {strike.undone_at - strike.applied_at:.1f} s[/]"


def _state(sample: Sample | None) -> Text:
    if sample is None:
        return Text("not looked at yet", "dim")
    state = "ok" if sample.is_tolerable else "out of tolerance"
    return Text(f"{state} ({shown(sample)})", "green" if sample.is_tolerable else "red")


def _is_same(one: Strike, other: Strike) -> bool:
    return (one.step, one.victim) == (other.step, other.victim)


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
