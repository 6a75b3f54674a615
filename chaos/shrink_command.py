"""Shell: ``regrow chaos shrink``: from a run that broke an invariant to the fewest of its faults that still do, as an experiment.

Each try is a run of its own with some of the steps, at their own times and with their own seeds.  Runs of real processes are not
deterministic: a try that breaks nothing is made again before it is believed.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.markup import escape

from regrow.chaos.console import PatientConsole
from regrow.chaos.dossier import Dossier
from regrow.chaos.evidence import Findings, Verdict
from regrow.chaos.experiment import Experiment, Step
from regrow.chaos.interruptions import Interruptions
from regrow.chaos.progress import Word
from regrow.chaos.run_commands import again
from regrow.chaos.schedule import spelled_out
from regrow.chaos.shrinking import Shrinking
from regrow.runtime.errors import ConfigError, RegrowError

Steps = tuple[Step, ...]
SHRUNK, AS_BEFORE, BROKEN_OFF = 0, 2, 3  # exit codes
FILE: Final = "shrunk.yaml"


class NothingBroken(RegrowError):
    """A run that broke no invariant cannot be made smaller."""

    code = "nothing_to_shrink"


def register(chaos: App) -> None:
    """Add the command."""
    chaos.command(shrink, config=[])  # nothing of the environment, as run


def shrink(
    run: Path,
    /,
    *,
    tries: Annotated[int, Parameter(validator=Number(gte=1))] = 2,
    out: Path | None = None,
    url: Annotated[str, Parameter(show_default=False)] = "",
) -> int:
    """Find the fewest faults of an invalid run that still break one of the same invariants, by running it again with some of them.

    Writes them as an experiment for 'regrow chaos run'; Ctrl-C writes the fewest so far. Exit code 0: it was written; 2: the run
    could not be repeated at all; 3: it was broken off, or not even begun.

    Parameters
    ----------
    run
        its directory, or its journal
    tries
        so many runs with the same faults must break nothing before they count as harmless
    out
        empty or new directory for the tries and shrunk.yaml (default: 'shrinking' in the run's)
    url
        gateway of a running tree that allows chaos; without it a tree is started for each try
    """
    console = PatientConsole(highlight=False, soft_wrap=True)
    try:
        with Interruptions():
            bench = Bench(Dossier((run.parent if run.is_file() else run).absolute()), tries, out, url, console)
            return bench.shrink()
    except KeyboardInterrupt:
        why = "interrupted; everything was undone"
    except RegrowError as error:
        why = str(error)
    sys.stderr.write(f"regrow: {why}\n")
    return BROKEN_OFF


class Bench:
    """The tries with one run's plan.  Raises ConfigError, Damaged, TreeUnreadable, and NothingBroken for a run that is not to be shrunk."""

    def __init__(self, dossier: Dossier, tries: int, out: Path | None, url: str, console: Console) -> None:
        from regrow.chaos.trial import check_attached

        self._experiment, self._plan = dossier.begun()
        self._meant = _broken(dossier)
        if url:
            check_attached(url, self._plan)
        self._out = _made(out or dossier.path / "shrinking")
        self._tries = tries
        self._url = url
        self._console = console
        self._runs = 0

    def shrink(self) -> int:
        """All of it; the exit code.  Whatever ends it, the fewest so far are written."""
        steps = self._plan.steps
        self._say(f"{self._experiment.title}: {len(steps)} faults broke {', '.join(sorted(self._meant))}")
        if not self.is_failing(steps):
            self._say(f"it did not break again in {self._tries} runs: nothing to go by; more of them: --tries")
            return AS_BEFORE
        try:
            smallest(steps, self.is_failing, self._keep)
        finally:
            self._say(escape(again(str(self._out / FILE), self._experiment.seed, self._url)))
        return SHRUNK

    def is_failing(self, steps: Steps) -> bool:
        """Whether a run with these breaks one of the same invariants.  Raises KeyboardInterrupt, and what keeps it from being run."""
        for _ in range(self._tries):
            broken = violated(self._run(spelled_out(self._experiment, steps))) & self._meant
            self._say(
                f"run {self._runs}, faults {_numbers(steps)}: breaks {', '.join(sorted(broken)) or 'none of them'}"
            )
            if broken:
                return True
        return False

    def _run(self, experiment: Experiment) -> Findings:
        from regrow.chaos.trial import perform

        self._runs += 1
        place = self._out / f"run-{self._runs:03}"
        file = place.with_suffix(".yaml")
        _write(file, experiment)
        trial = perform(
            experiment,
            place,
            _quiet,
            command=again(str(file), experiment.seed, self._url),
            url=self._url,
            has_twin=False,
        )
        if trial.is_interrupted:
            raise KeyboardInterrupt
        return trial.findings

    def _keep(self, steps: Steps) -> None:
        _write(self._out / FILE, spelled_out(self._experiment, steps))
        self._say(f"  {len(steps)} of {len(self._plan.steps)} faults are enough so far: {_numbers(steps)}")

    def _say(self, text: str) -> None:
        self._console.print(text)


def smallest(steps: Steps, is_failing: Callable[[Steps], bool], keep: Callable[[Steps], None]) -> Steps:
    """The fewest that fail, of steps that do.  ``keep`` is told of each smaller plan, and of the first."""
    keep(steps)
    left, shrinking = steps, Shrinking(range(len(steps)))
    while shrinking.candidate is not None:
        candidate = tuple(steps[place] for place in shrinking.candidate)
        fails = is_failing(candidate)
        shrinking.tell(is_failing=fails)
        if fails:
            keep(left := candidate)
    if len(left) == 1 and is_failing(()):  # the workload alone
        keep(left := ())
    return left


def _broken(dossier: Dossier) -> set[str]:
    """What is to be broken again.  Raises NothingBroken."""
    findings = dossier.findings()
    if found := violated(findings):
        return found
    if findings.verdict is Verdict.INVALID:
        raise NothingBroken(f"{dossier.path} broke no invariant, so it cannot be shrunk: {'; '.join(findings.reasons)}")
    raise NothingBroken(
        f"{dossier.path} is {findings.verdict}: only a run that was invalid can be shrunk (exit code 1 of 'regrow chaos run')"
    )


def violated(findings: Findings) -> set[str]:
    """The invariants that were broken."""
    return {it.invariant for it in findings.judgements if it.verdict is Verdict.INVALID}


def _made(out: Path) -> Path:
    """An empty directory.  Raises ConfigError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        is_empty = not any(out.iterdir())
    except OSError as error:
        raise ConfigError(f"{out}: {error.strerror}; name another directory with --out") from None
    if not is_empty:
        raise ConfigError(f"{out} is not empty: name another directory with --out")
    return out


def _write(file: Path, experiment: Experiment) -> None:
    from regrow.chaos.suites import WORDS
    from regrow.chaos.writing import written

    file.write_text(written(experiment, WORDS.faults))


def _numbers(steps: Steps) -> str:
    return ", ".join(str(step.number) for step in steps) or "none"


def _quiet(word: Word) -> None:
    """The course of each try: nobody needs it."""
