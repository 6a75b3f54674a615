"""The plan of an experiment: when each fault comes."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from regrow.chaos.experiment import Action, Experiment
from regrow.chaos.schedule import length_s, plan

SECONDS = st.floats(0, 100).map(lambda value: round(value, 3))
ACTIONS = st.builds(
    Action,
    fault=st.sampled_from(["kill", "stop"]),
    at_s=st.none() | SECONDS,
    every_s=st.none() | SECONDS,
    jitter_s=SECONDS,
    count=st.integers(1, 5),
    for_s=st.none() | SECONDS,
    background=st.booleans(),
)


def times(*method: Action, seed: int = 0) -> list[tuple[str, float]]:
    return [(step.fault, step.at_s) for step in plan(Experiment("it", seed=seed, method=method)).steps]


def test_lines_follow_each_other_when_they_are_over() -> None:
    found = times(Action("stop", for_s=5.0), Action("kill"), Action("kill", every_s=2.0, count=2), Action("term"))

    assert found == [("stop", 0.0), ("kill", 5.0), ("kill", 7.0), ("kill", 9.0), ("term", 9.0)]


def test_a_line_in_the_background_keeps_nobody_waiting() -> None:
    assert times(Action("stop", for_s=5.0, background=True), Action("kill")) == [("stop", 0.0), ("kill", 0.0)]


def test_a_line_with_a_time_of_its_own_starts_then() -> None:
    found = times(Action("kill", every_s=10.0, count=2), Action("stop", at_s=12.0, for_s=1.0, background=True))

    assert found == [("kill", 10.0), ("stop", 12.0), ("kill", 20.0)]


def test_jitter_moves_by_no_more_than_it_says_and_differs_from_fault_to_fault() -> None:
    found = [at_s for _, at_s in times(Action("kill", every_s=10.0, jitter_s=1.0, count=50))]

    moved = [at_s - 10.0 * turn for turn, at_s in enumerate(found, start=1)]
    assert all(-1.0 <= by <= 1.0 for by in moved)
    assert min(moved) < -0.5
    assert max(moved) > 0.5


def test_another_seed_is_another_plan_and_the_seeds_of_its_steps_all_differ() -> None:
    method = (Action("kill", every_s=10.0, jitter_s=1.0, count=50),)
    first, second = plan(Experiment("it", seed=1, method=method)), plan(Experiment("it", seed=2, method=method))

    assert {step.at_s for step in first.steps}.isdisjoint({step.at_s for step in second.steps})
    assert len({step.seed for step in (*first.steps, *second.steps)}) == 100


def test_a_line_with_a_seed_of_its_own_keeps_it_whatever_is_around_it() -> None:
    own = Action("kill", every_s=1.0, count=3, seed=7)
    alone = [step.seed for step in plan(Experiment("it", seed=1, method=(own,))).steps]
    among = [step.seed for step in plan(Experiment("it", seed=2, method=(Action("stop"), own))).steps]

    assert alone[0] == 7
    assert len(set(alone)) == 3
    assert among[1:] == alone


def test_a_plan_is_the_same_byte_for_byte_here_and_everywhere() -> None:
    experiment = Experiment("it", seed=42, method=(Action("kill", every_s=5.0, jitter_s=1.0, count=3),))

    assert msgspec.json.encode(plan(experiment)) == msgspec.json.encode(plan(experiment))
    assert [step.at_s for step in plan(experiment).steps] == [4.14, 9.235, 15.777]


def test_a_plan_is_as_long_as_its_last_fault() -> None:
    assert length_s(plan(Experiment("it"))) == 0.0
    assert (
        length_s(plan(Experiment("it", method=(Action("stop", at_s=3.0, for_s=5.0), Action("kill", at_s=4.0))))) == 8.0
    )


@given(st.lists(ACTIONS, max_size=5), st.integers(0, 2**64))
def test_whatever_the_method_every_fault_comes_once_and_in_order(method: list[Action], seed: int) -> None:
    steps = plan(Experiment("it", seed=seed, method=tuple(method))).steps

    assert len(steps) == sum(action.count for action in method)
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert [step.at_s for step in steps] == sorted(step.at_s for step in steps)
    assert all(step.at_s >= 0 and 0 <= step.seed < 2**63 for step in steps)
