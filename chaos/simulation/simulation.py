"""Core: one seed, from its scenario to its result."""

from typing import Final

from regrow.chaos.simulation import audit
from regrow.chaos.simulation.clock import Clock
from regrow.chaos.simulation.drawing import Size, scenario
from regrow.chaos.simulation.history import Violation
from regrow.chaos.simulation.scenario import Result, Scenario
from regrow.chaos.simulation.trace import Trace
from regrow.chaos.simulation.world import World

SETTLE_S: Final = 120.0  # virtual seconds, besides the work itself, until everything has ended once nothing is wrong
PATIENCE: Final = 4.0  # times as long as that work takes
QUIET_S: Final = 15.0  # and then so long until the last look
MOST_AT_ONCE: Final = 50_000  # events in one moment: somebody does the same for ever, and time does not go on


def simulate(seed: int, size: Size = Size(), keep: int | None = 400) -> Result:  # noqa: B008 (a frozen value)
    """``keep``: lines of the trace that the result has, if it is invalid; 0: all, in any case."""
    return play(scenario(seed, size), Trace(keep))


def play(drawn: Scenario, trace: Trace) -> Result:
    """Until everything has ended, or an invariant is contradicted."""
    try:
        world = World(drawn, trace)
    except Violation as error:
        raise AssertionError("a world does not begin with a violation") from error
    invariant = detail = ""
    try:
        _run(world)
    except Violation as error:
        invariant, detail = error.invariant, error.detail
    seen = dict(sorted(world.seen.items()))
    return Result(
        seed=drawn.seed,
        digest=trace.digest(),
        tasks=world.load.submitted,
        runs=world.history.runs,
        events=world.clock.happened,
        simulated_s=world.clock.now,
        faults={name.removeprefix("fault "): n for name, n in seen.items() if name.startswith("fault ")},
        seen=seen,
        invariant=invariant,
        detail=detail,
        at_s=world.clock.now,
        lines=tuple(trace.lines) if invariant or trace.lines.maxlen is None else (),
    )


def _run(world: World) -> None:
    clock, history, load = world.clock, world.history, world.load
    until: float | None = None
    while _step(clock):
        if not load.is_done or clock.now < world.scenario.chaos_s:
            continue
        until = until or clock.now + SETTLE_S + PATIENCE * _left_s(world)
        is_done = history.acknowledged == load.submitted and not history.open
        if clock.now > until or (is_done and clock.now > world.scenario.chaos_s + QUIET_S):
            break
    settled = clock.now + QUIET_S
    while clock.now < settled and _step(clock):
        pass
    world.is_over = True
    audit.check_end(world.store, world.trees, history)


def _step(clock: Clock) -> bool:
    if clock.at_once > MOST_AT_ONCE:
        raise Violation("liveness", f"time stands still: more than {MOST_AT_ONCE:,} events in one moment")
    return clock.step()


def _left_s(world: World) -> float:
    """How long what has not ended takes, if all slots that there are now share it evenly."""
    work_s = sum(life.runs_s for life in world.history.lives.values() if life.end is None)
    slots = sum(worker.post.slots for tree in world.trees for worker in tree.living())
    return work_s / max(slots, world.scenario.slots)
