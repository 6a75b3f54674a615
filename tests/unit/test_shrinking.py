"""Shrinking: what is left of a plan that fails."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from regrow.chaos.shrinking import Shrinking


def shrink(items: range, fails: Callable[[set[int]], bool]) -> tuple[list[int], int]:
    """What is left, and how many were tried."""
    it = Shrinking([(number,) for number in items])
    while it.candidate is not None:
        it.tell(is_failing=fails({item[0] for item in it.candidate}))
    return [item[0] for item in it.smallest], it.tried


def test_one_guilty_step_is_found_among_many_in_few_tries() -> None:
    left, tried = shrink(range(64), lambda steps: 41 in steps)

    assert left == [41]
    assert tried <= 2 * 6


def test_two_that_fail_only_together_are_both_kept() -> None:
    assert shrink(range(20), lambda steps: {3, 17} <= steps)[0] == [3, 17]


def test_all_are_kept_where_all_are_needed() -> None:
    assert shrink(range(5), lambda steps: len(steps) == 5)[0] == list(range(5))


def test_a_failure_that_does_not_come_again_leaves_the_plan_as_it_was() -> None:
    assert shrink(range(6), lambda _: False)[0] == list(range(6))


def test_a_single_step_cannot_be_made_less() -> None:
    assert shrink(range(1), lambda _: True) == ([0], 0)


@given(st.integers(1, 30).flatmap(lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1), min_size=1))))
def test_whatever_is_guilty_together_is_what_is_left(case: tuple[int, set[int]]) -> None:
    size, guilty = case
    left, tried = shrink(range(size), lambda steps: guilty <= steps)

    assert set(left) == guilty
    assert tried <= size * size + 3 * size + 10
