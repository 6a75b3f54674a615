"""Shell: ``regrow chaos list`` and ``regrow chaos check``."""

from typing import Annotated, Final

from cyclopts import App, Parameter
from rich.console import Console

from regrow.chaos.experiment import Experiment
from regrow.chaos.schedule import length_s, plan
from regrow.chaos.suites import load, suites
from regrow.runtime.errors import ConfigError

NAME: Final = 14  # columns
TIME: Final = 10


def register(chaos: App) -> None:
    """Add these commands."""
    chaos.command(show_suites, name="list")
    chaos.command(check, config=[])


def show_suites() -> None:
    """The experiments that come with regrow, a line each."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{'suite':<{NAME}}{'takes':<{TIME}}what it does")
    for name, experiment in suites().items():
        takes = f"{_minutes(experiment)} min"
        console.print(f"{name:<{NAME}}{takes:<{TIME}}{experiment.description}", markup=False)
    console.print("\n'regrow chaos run SUITE' starts a tree of its own and runs one.")


def check(file: Annotated[list[str], Parameter(negative=())], /) -> int:
    """Is this a valid experiment?  Tells every mistake with its line and key; exit code 0 only if there is none.

    Parameters
    ----------
    file
        YAML or JSON files, or names of suites
    """
    console = Console(soft_wrap=True, highlight=False)
    is_valid = True
    for name in file:
        try:
            experiment = load(name)
        except ConfigError as error:
            is_valid = False
            console.print(str(error), markup=False)
        else:
            faults = len(plan(experiment).steps)
            console.print(
                f"{name}: valid, {faults} fault{'s' * (faults != 1)}, about {_minutes(experiment)} min", markup=False
            )
    return 0 if is_valid else 1


def _minutes(experiment: Experiment) -> str:
    """How long its load and faults take; the settling comes on top, mostly some seconds."""
    return f"{max(experiment.workload.duration_s, length_s(plan(experiment))) / 60:.1f}"
