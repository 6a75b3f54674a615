"""What ``regrow chaos shrink`` tries and keeps, with a failure that is made up."""

from collections.abc import Callable

from regrow.chaos.evidence import Verdict
from regrow.chaos.experiment import Step
from regrow.chaos.run_commands import again
from regrow.chaos.shrink_command import Steps, smallest, violated
from support.runs import findings

STEPS = tuple(Step(number, float(number), "kill", {}, None, None, 0) for number in range(1, 8))


def shrunk(fails: Callable[[set[int]], bool]) -> tuple[list[int], list[list[int]]]:
    """What is left, and everything that was kept, in order."""
    kept: list[list[int]] = []

    def numbers(steps: Steps) -> list[int]:
        return [step.number for step in steps]

    left = smallest(STEPS, lambda steps: fails(set(numbers(steps))), lambda steps: kept.append(numbers(steps)))
    return numbers(left), kept


def test_one_guilty_step_is_left_and_each_smaller_plan_is_kept() -> None:
    left, kept = shrunk(lambda numbers: 6 in numbers)

    assert left == [6]
    assert kept[0] == [1, 2, 3, 4, 5, 6, 7]
    assert kept[-1] == [6]
    assert [len(steps) for steps in kept] == sorted([len(steps) for steps in kept], reverse=True)


def test_two_that_fail_only_together_are_left() -> None:
    assert shrunk(lambda numbers: {2, 7} <= numbers)[0] == [2, 7]


def test_a_failure_that_needs_no_fault_at_all_has_none_left() -> None:
    left, kept = shrunk(lambda _: True)

    assert left == kept[-1] == []


def test_a_failure_that_never_comes_again_keeps_the_whole() -> None:
    assert shrunk(lambda _: False) == ([1, 2, 3, 4, 5, 6, 7], [[1, 2, 3, 4, 5, 6, 7]])


def test_what_is_broken_is_what_was_judged_invalid() -> None:
    assert violated(findings(Verdict.INVALID)) == {"one_terminal"}
    assert violated(findings(Verdict.UNKNOWN)) == set()


def test_the_command_that_does_a_run_again_names_the_tree_that_it_was_done_to() -> None:
    assert again("my run.yaml", 7, "") == "regrow chaos run 'my run.yaml' --seed 7"
    assert (
        again("it.yaml", 7, "http://127.0.0.1:8000") == "regrow chaos run it.yaml --seed 7 --url http://127.0.0.1:8000"
    )
