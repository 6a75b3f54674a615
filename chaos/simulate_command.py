"""Shell: ``regrow chaos simulate``."""

from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console

Positive = Annotated[int, Parameter(validator=Number(gte=1))]


def register(chaos: App) -> None:
    """Add this command."""
    chaos.command(simulate, config=[])  # nothing of the environment: a seed is always the same run


def simulate(
    *,
    seeds: Positive = 100,
    first: int = 0,
    tasks: Positive | None = None,
    workers: Positive | None = None,
    hours: Annotated[float, Parameter(validator=Number(gt=0))] | None = None,
    replay: int | None = None,
    trace: bool = False,
    processes: Positive = 1,
) -> int:
    """Run the real decision-making cores on simulated machines under seeded faults; exit code 1 if a promise is broken.

    Nothing is started and nothing is hurt: processes, network, store and time are models.  A seed is always the same run.

    Parameters
    ----------
    seeds
        how many
    first
        the first of them
    tasks
        submitted per seed; by default, about a hundred
    workers
        in all trees of a seed; by default, a few
    hours
        of simulated chaos per seed; by default, up to a minute
    replay
        run this seed alone, and show how it ends
    trace
        with --replay: show every event
    processes
        seeds at a time
    """
    from regrow.chaos import simulating  # the cores are paid for by this command only
    from regrow.chaos.simulation.drawing import Size

    size = Size(tasks, workers, hours)
    if replay is not None:
        return simulating.replay(Console(), replay, size, is_whole=trace)
    return simulating.run(Console(), size, range(first, first + seeds), processes)
