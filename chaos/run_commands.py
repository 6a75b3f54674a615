"""Shell: ``regrow chaos run``."""

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from regrow.chaos.console import PatientConsole
from regrow.chaos.experiment import Experiment
from regrow.chaos.narrator import conclude, tell_plan
from regrow.runtime.errors import RegrowError


def register(chaos: App) -> None:
    """Add the command."""
    chaos.command(run, config=[])  # nothing of the environment: the tree that REGROW_URL names serves somebody


def run(
    experiment: str,
    /,
    *,
    seed: int | None = None,
    url: Annotated[str, Parameter(show_default=False)] = "",
    out: Path | None = None,
    baseline: bool = True,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Run an experiment, and say whether anything was lost, doubled or overwritten.

    Exit code 0: valid; 1: invalid; 2: unknown, since too little was put to the test; 3: it was broken off, or not even begun.

    Parameters
    ----------
    experiment
        a suite ('regrow chaos list'), or a YAML or JSON file
    seed
        of everything that is left to chance, in place of the experiment's own
    url
        gateway of a running tree that allows chaos; without it a tree is started for this
    out
        empty or new directory for everything that is known of the run (default ./regrow-chaos/TITLE-SEED-TIME)
    baseline
        run the same workload without faults first, to see what the faults cost
    dry_run
        print the plan and do nothing
    """
    from regrow.chaos.interruptions import Interruptions
    from regrow.chaos.live import watching
    from regrow.chaos.schedule import plan
    from regrow.chaos.suites import load
    from regrow.chaos.trial import perform

    console = PatientConsole(highlight=False, soft_wrap=True)
    place = out
    with Interruptions(is_last=True):
        try:
            meant = load(experiment)
            if seed is not None:
                meant = msgspec.structs.replace(meant, seed=seed)
            if dry_run:
                tell_plan(console, meant, plan(meant))
                return 0
            place = out or directory(meant)
            command = again(experiment, meant.seed, url)
            with watching(console, meant, plan(meant)) as observer:
                trial = perform(meant, place, observer, command=command, url=url, has_twin=baseline)
            conclude(console, trial)
        except KeyboardInterrupt:
            return _aborted(f"interrupted; everything was undone{_judge_it(place)}")
        except RegrowError as error:
            return _aborted(str(error))
        return trial.code


def directory(experiment: Experiment) -> Path:
    """Where a run goes when nobody says where."""
    words = "".join(letter if letter.isalnum() else "-" for letter in experiment.title.lower())
    name = "-".join(word for word in words.split("-") if word)[:60]
    return Path("regrow-chaos") / f"{name}-{experiment.seed}-{time.strftime('%Y%m%dT%H%M%S')}"


def again(experiment: str, seed: int, url: str) -> str:
    """The command that does it once more."""
    return shlex.join(["regrow", "chaos", "run", experiment, "--seed", str(seed), *(["--url", url] if url else [])])


def _judge_it(place: Path | None) -> str:
    """What can be done with a run whose evidence is there, and its report not."""
    if place is None or not (place / "evidence.json").exists():
        return ""
    return f"; what there is of the run: regrow chaos report {shlex.quote(str(place))}"


def _aborted(why: str) -> int:
    from regrow.chaos.trial import Code

    sys.stderr.write(f"regrow: {why}\n")
    return Code.ABORTED
