"""Shell: ``regrow chaos kill``, ``freeze`` and ``undo``, and ``regrow demo``."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

from regrow.chaos import experiment_commands, report_command, run_commands, shrink_command, simulate_command
from regrow.chaos.evidence import Strike
from regrow.chaos.experiment import Doing, Step, Target
from regrow.chaos.fate import Fate
from regrow.chaos.fault import Role, Victim
from regrow.chaos.healing import heal, left, small_journal, tidy
from regrow.chaos.lineage import NoVictim
from regrow.chaos.nemesis import Nemesis, NotRecovered
from regrow.chaos.own_tree import remove_former
from regrow.chaos.permission import local
from regrow.runtime.place import Place

app = App()
chaos = App(name="chaos", help="Do faults to a running tree, on purpose.")
app.command(chaos)
run_commands.register(chaos)
report_command.register(chaos)
experiment_commands.register(chaos)
shrink_command.register(chaos)
simulate_command.register(chaos)

While = Annotated[Doing, Parameter(name=["--while"])]


@chaos.command
def kill(
    role: Role = Role.WORKER,
    *,
    name: str = "",
    doing: While = Doing.ANYTHING,
    seed: int = 0,
    within: float = 15.0,
    place: Place = Place(),
) -> int:
    """SIGKILL a running actor, and say how long it took until another ran in its place.

    Nothing is above the root to start it again: if that is killed, the time is told until the whole tree was gone.

    Parameters
    ----------
    role
        who; a random one of this role
    name
        this one, by name or path
    doing
        one that does this, as of its last beat
    seed
        of the random choice
    within
        seconds after which the recovery (of the root: the end of the tree) has failed
    """
    console = Console()
    with Nemesis(local(place.gateway())) as nemesis:
        target = Target(role, name, doing=doing)
        if role is Role.ROOT:
            return _kill_root(console, nemesis, target, within)
        strike = _strike(console, nemesis, Step(1, 0.0, "kill", {}, target, None, seed))
        console.print(f"back after {nemesis.recovery_s(strike, within) * 1000:,.0f} ms")
    return 0


@chaos.command
def freeze(
    role: Role = Role.WORKER,
    *,
    name: str = "",
    doing: While = Doing.ANYTHING,
    seed: int = 0,
    duration: Annotated[float, Parameter(name=["--for"])] = 5.0,
    place: Place = Place(),
) -> int:
    """SIGSTOP a running actor for a while, then let it go on; if it was replaced meanwhile, say after how long.

    Parameters
    ----------
    role
        who; a random one of this role
    name
        this one, by name or path
    doing
        one that does this, as of its last beat
    seed
        of the random choice
    duration
        seconds
    """
    console = Console()
    with small_journal(place.data_dir) as journal, Nemesis(local(place.gateway()), journal, seed=seed) as nemesis:
        strike = _strike(console, nemesis, Step(1, 0.0, "stop", {}, Target(role, name, doing=doing), duration, seed))
        try:
            console.print(f"replaced after {nemesis.recovery_s(strike, duration):.2f} s")
        except NotRecovered:
            why = "nothing is above the root that could replace it" if role is Role.ROOT else "it was not replaced"
            console.print(f"let go after {duration:g} s; {why}")
    return 0


@chaos.command
def undo(where: Path | None = None, /, *, data_dir: Path | None = None) -> int:
    """Undo the faults that a run has left, should even its guardian have been killed; doing it twice does no harm.

    Exit code 0: nothing is left; 1: something could not be undone, and it says what; 2: there is no such journal.

    Parameters
    ----------
    where
        a journal, or the directory of a run (default: all runs below ./regrow-chaos, and what 'freeze' has left)
    data_dir
        data directory of the tree that was frozen
    """
    console = Console(highlight=False)
    is_whole = True
    remove_former()
    for one in (found := left(where, data_dir)):
        if len(found) > 1:
            console.print(f"{one.journal.parent}:", soft_wrap=True, markup=False)
        for problem in one.problems:
            is_whole = False
            console.print(problem, soft_wrap=True, markup=False)
        for intent, said, problems in heal(one):
            console.print(f"{intent.fault} {intent.victim.path if intent.victim else ''}".strip() + ":", end=" ")
            console.print("; ".join([*said, *problems]), soft_wrap=True)
            is_whole = is_whole and not problems
    tidy(data_dir)
    if not found:
        console.print("nothing is left to undo")
    return 0 if is_whole else 1


@app.command
def demo(*, seed: int = 0, workers: int = 2, slots: int = 2) -> int:
    """Real work on a real tree, with a worker killed in the middle; exit code 0 only if nothing was lost or wrong.

    Parameters
    ----------
    seed
        of the choice which worker is killed
    workers
        workers in the tree
    slots
        tasks that one worker runs at once
    """
    from regrow.chaos.demo import demo as run  # the client's imports are paid for by this command only

    return run(seed, workers, slots, Console())


def _kill_root(console: Console, nemesis: Nemesis, target: Target, within_s: float) -> int:
    """Its end is the tree's: every process must share its fate."""
    with Fate(nemesis.scene.read_tree().pid or 0) as fate:
        strike = _strike(console, nemesis, Step(1, 0.0, "kill", {}, target, None, 0))
        took_s = fate.shared_s(strike.applied_at or 0.0, within_s)
        console.print(f"all {len(fate)} processes of the tree were gone after {took_s * 1000:,.0f} ms")
    console.print("'regrow up' starts it again: what was acknowledged is in the store")
    return 0


def _strike(console: Console, nemesis: Nemesis, step: Step) -> Strike:
    strike = nemesis.strike(step)[0]
    victim = hit(strike)
    word = "killed" if strike.fault == "kill" else "froze"
    console.print(f"{word} {victim.path} (pid {victim.pid}, incarnation {victim.incarnation})")
    return strike


def hit(strike: Strike) -> Victim:
    """Who was hit.  Raises NoVictim for a miss."""
    if strike.victim is None or strike.applied_at is None:
        raise NoVictim(strike.detail)
    return strike.victim
