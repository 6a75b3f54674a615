"""Shell: ``regrow chaos kill``, ``regrow chaos freeze`` and ``regrow demo``."""

from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

from regrow.chaos.fault import Fault, Freeze, Injection, Kill, Role
from regrow.chaos.nemesis import Nemesis, NotRecovered
from regrow.chaos.tree import http_tree
from regrow.runtime.place import Place

app = App()
chaos = App(name="chaos", help="Do faults to a running tree, on purpose.")
app.command(chaos)


@chaos.command
def kill(
    role: Role = Role.WORKER, *, name: str = "", seed: int = 0, within: float = 15.0, place: Place = Place()
) -> int:
    """SIGKILL a running actor, and say how long it took until another ran in its place.

    Parameters
    ----------
    role
        who; a random one of this role
    name
        this one, by name or path
    seed
        of the random choice
    within
        seconds after which the recovery has failed
    """
    console = Console()
    with Nemesis(http_tree(place.gateway()), seed) as nemesis:
        injection = _strike(console, nemesis, Kill(), role, name)
        console.print(f"back after {nemesis.recovery_s(injection, within) * 1000:,.0f} ms")
    return 0


@chaos.command
def freeze(
    role: Role = Role.WORKER,
    *,
    name: str = "",
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
    seed
        of the random choice
    duration
        seconds
    """
    console = Console()
    with Nemesis(http_tree(place.gateway()), seed) as nemesis:
        injection = _strike(console, nemesis, Freeze(duration), role, name)
        try:
            console.print(f"replaced after {nemesis.recovery_s(injection, duration):.2f} s")
        except NotRecovered:
            console.print(f"let go after {duration:g} s; it was not replaced")
    return 0


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


def _strike(console: Console, nemesis: Nemesis, fault: Fault, role: Role, name: str) -> Injection:
    injection = nemesis.invoke(fault, role, name)
    victim = injection.victim
    word = "killed" if isinstance(fault, Kill) else "froze"
    console.print(f"{word} {victim.path} (pid {victim.pid}, incarnation {victim.incarnation})")
    return injection
