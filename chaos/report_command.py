"""Shell: ``regrow chaos report``: a run's report, written again."""

from pathlib import Path
from typing import Final

from cyclopts import App
from rich.console import Console

from regrow.runtime.errors import ConfigError

RUNS: Final = Path("regrow-chaos")


def register(chaos: App) -> None:
    """Add the command."""
    chaos.command(report, config=[])


def report(run: Path | None = None, /) -> int:
    """Judge a finished run again from its evidence, and write report.html, report.md and report.json anew.

    Exit code 0, 1, 2 or 3, as that of the run.

    Parameters
    ----------
    run
        its directory; without it the newest in ./regrow-chaos
    """
    from regrow.chaos.trial import judge

    trial = judge(run or newest())
    console = Console(highlight=False, soft_wrap=True)
    console.print(trial.findings.verdict.value)
    console.print(str(trial.dossier / "report.html"), markup=False)
    return trial.code


def newest() -> Path:
    """The last run that was not broken off before there was anything to judge.  Raises ConfigError when there is none."""
    found = sorted(RUNS.glob("*/evidence.json"), key=lambda file: file.stat().st_mtime)
    if not found:
        raise ConfigError(
            f"there is no run in ./{RUNS}: name the directory of one, or make one with 'regrow chaos run SUITE'"
        )
    return found[-1].parent
