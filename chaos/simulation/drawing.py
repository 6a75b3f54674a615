"""Core: a scenario as a pure function of a seed and of how large it is to be."""

from typing import Final

import msgspec

from regrow.actors.wire import Mode
from regrow.chaos.simulation.chance import Chance
from regrow.chaos.simulation.scenario import WILD, FaultKind, Scenario, Step
from regrow.chaos.simulation.task_plan import Kind

SMALL_TASKS = 120
ALONE = 0.6  # of the faults; the others come with a second one, mostly at once
LOCAL = ("worker.", "slot.", "link.")  # faults of one worker's place
FLOODED = 0.15  # of the seeds
LONG_S = 600.0  # of chaos, from which there are fewer faults a minute: there are enough
MIXES: tuple[dict[Kind, float], ...] = (
    {Kind.NOOP: 3, Kind.SHORT: 3, Kind.MEDIUM: 3, Kind.LONG: 1},
    {Kind.NOOP: 1},
    {Kind.MEDIUM: 2, Kind.LONG: 2, Kind.SLOW: 0.5, Kind.ONCE: 1},
    {Kind.SHORT: 4, Kind.MEDIUM: 4, Kind.POISON: 0.5, Kind.FLAKY: 1, Kind.HANGS: 0.3, Kind.RAISES: 1, Kind.RETRIED: 1},
    {kind: 1.0 for kind in Kind if kind not in (Kind.POISON, Kind.HANGS, Kind.SLOW)},
)
ROUNDS_S: Final = (0.0002, 0.0002, 0.0002, 0.02)  # of a dispatcher: on a busy machine more comes in one
RARE = frozenset({FaultKind.ROOT_KILL, FaultKind.ROOT_FREEZE, FaultKind.TREE_STOP, FaultKind.POOL_KILL})


class Size(msgspec.Struct, frozen=True):
    """What the caller has settled; None: by the seed."""

    tasks: int | None = None
    workers: int | None = None
    hours: float | None = None


def scenario(seed: int, size: Size = Size()) -> Scenario:  # noqa: B008 (a frozen value)
    """The same seed and size give the same scenario."""
    dice = Chance(f"scenario {seed}")
    workers = size.workers or dice.choice((1, 2, 2, 3, 4, 6))
    chaos_s = 3600.0 * size.hours if size.hours else dice.uniform(15.0, 60.0)
    is_wild = dice.random() < 0.1
    trees = 2 if dice.random() < 0.3 else 1
    tasks = size.tasks or int(SMALL_TASKS * dice.uniform(0.5, 1.5))
    mix = dice.choice(MIXES) if size.tasks is None else MIXES[-1]
    burst = dice.choice((1, 10, 300))
    if size.tasks is None and dice.random() < FLOODED:
        mix, tasks, burst = MIXES[1], 8 * tasks, 800
    return Scenario(
        seed=seed,
        mode=dice.choice((Mode.PUSH, Mode.PULL, Mode.LOCAL)),
        trees=trees,
        workers=max(1, workers // trees),
        outsiders=dice.choice((0, 0, 1, 2)),
        slots=dice.choice((1, 2, 2, 3)),
        tasks=tasks,
        chaos_s=chaos_s,
        base_s=dice.choice((0.0002, 0.0002, 0.002, 0.02)),
        round_s=max(Chance(f"pace {seed}").choice(ROUNDS_S), 25e-6 * workers),
        burst=burst,
        mix={str(kind): share for kind, share in mix.items()},
        cancelled=dice.choice((0.0, 0.05, 0.2)),
        is_wild=is_wild,
        steps=tuple(_steps(dice, trees, workers, chaos_s, is_wild=is_wild)),
    )


def _steps(dice: Chance, trees: int, workers: int, chaos_s: float, *, is_wild: bool) -> list[Step]:
    kinds = [kind for kind in FaultKind if is_wild or kind not in WILD]
    usual = dice.sample(kinds, dice.randint(2, len(kinds)))  # some seeds have much of little
    crowd = max(1.0, workers / 50)  # of many workers many are hit, their tree no more often than another
    weights = [(0.15 if kind in RARE else 1.0) / (1.0 if kind.startswith(LOCAL) else crowd) for kind in usual]
    per_minute = dice.uniform(6, 40) if chaos_s < LONG_S else 6.0
    count = max(1, int(chaos_s / 60.0 * per_minute * crowd))
    steps: list[Step] = []
    while len(steps) < count:
        at_s = dice.uniform(1.0, chaos_s)
        for _ in range(1 if dice.random() < ALONE else 2):
            kind = dice.choices(usual, weights)[0]
            for_s = dice.choice((dice.uniform(0.05, 1.0), dice.uniform(1.0, 3.5), dice.uniform(3.5, 9.0)))
            steps.append(Step(at_s, kind, for_s, dice.randrange(trees), dice.randrange(1 << 30), dice.random()))
            at_s += dice.uniform(0.0, 1.0) ** 3
    return sorted(steps, key=lambda step: step.at_s)
