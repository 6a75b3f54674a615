"""Core: when each fault of an experiment comes: the plan.

The lines of a method follow each other. A line with ``at`` starts then; one without it starts when the line before it is over, or at the
same moment as that one if that is in the ``background``.  With ``every`` its faults come one interval after the start, two intervals
after it, and so on, each moved by up to ``jitter`` in either direction, but never before the start.

``spelled_out`` is the way back: an experiment whose lines are the steps of a plan, one each, with their own times and seeds.
"""

from collections.abc import Iterable

import msgspec

from regrow.chaos.dice import derived, fraction
from regrow.chaos.experiment import Action, Experiment, Plan, Step


def plan(experiment: Experiment) -> Plan:
    """Every fault in order of time, and of the lines where times are equal.  The same experiment and seed: the same plan, byte for byte."""
    found: list[tuple[float, int, int, Action]] = []
    cursor_s = 0.0
    for line, action in enumerate(experiment.method):
        start_s = cursor_s if action.at_s is None else action.at_s
        times_s = [_time_s(experiment.seed, line, action, start_s, turn) for turn in range(action.count)]
        found += [(at_s, line, turn, action) for turn, at_s in enumerate(times_s)]
        if not action.background:
            cursor_s = max([cursor_s, start_s, *times_s]) + (action.for_s or 0.0)
    steps = [
        Step(
            number,
            at_s,
            action.fault,
            action.options,
            action.target,
            action.for_s,
            _seed(experiment.seed, line, action, turn),
        )
        for number, (at_s, line, turn, action) in enumerate(sorted(found, key=lambda it: it[:3]), start=1)
    ]
    return Plan(experiment.title, experiment.seed, tuple(steps))


def spelled_out(experiment: Experiment, steps: Iterable[Step]) -> Experiment:
    """The same with these steps for its method; what had to be hit is asked no more, since fewer faults may not do it."""
    method = [
        Action(step.fault, step.options, step.target, step.at_s, for_s=step.for_s, background=True, seed=step.seed)
        for step in steps
    ]
    expect = msgspec.structs.replace(experiment.expect, must_hit={})
    return msgspec.structs.replace(experiment, method=tuple(method), expect=expect)


def length_s(plan: Plan) -> float:
    """From the start of the method until its last fault is over."""
    return max((step.at_s + (step.for_s or 0.0) for step in plan.steps), default=0.0)


def _seed(seed: int, line: int, action: Action, turn: int) -> int:
    if action.seed is None:
        return derived(seed, line, turn)
    return action.seed if turn == 0 else derived(action.seed, turn)


def _time_s(seed: int, line: int, action: Action, start_s: float, turn: int) -> float:
    """Rounded to the millisecond, so that a plan reads well."""
    due_s = start_s + (action.every_s or 0.0) * (turn + (action.every_s is not None))
    moved_s = (2 * fraction(seed, line, turn, "jitter") - 1) * action.jitter_s
    return round(max(start_s, due_s + moved_s), 3)
