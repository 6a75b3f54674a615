"""The sliding window of restarts."""

from hypothesis import given, settings
from hypothesis import strategies as some

from regrow.runtime.budget import RestartBudget
from regrow.runtime.spec import Intensity


def spends(budget, *times):
    return [budget.spend(now) for now in times]


def test_the_window_holds_as_many_restarts_as_the_intensity_says():
    assert spends(RestartBudget(Intensity(3, 5.0)), 0.0, 1.0, 2.0, 3.0) == [True, True, True, False]


def test_the_end_of_the_window_is_inclusive():
    assert spends(RestartBudget(Intensity(1, 5.0)), 10.0, 15.0) == [True, False]
    assert spends(RestartBudget(Intensity(1, 5.0)), 10.0, 15.1) == [True, True]


def test_an_intensity_of_none_allows_nothing():
    assert spends(RestartBudget(Intensity(0, 5.0)), 0.0) == [False]


def test_what_has_left_the_window_is_not_counted():
    budget = RestartBudget(Intensity(3, 5.0))
    spends(budget, 0.0, 1.0)

    assert [budget.spent(now) for now in (1.0, 5.0, 5.5, 6.5)] == [2, 2, 1, 0]


def test_a_new_intensity_holds_from_the_next_restart_on():
    budget = RestartBudget(Intensity(1, 5.0))
    spends(budget, 0.0)
    budget.intensity = Intensity(2, 5.0)

    assert spends(budget, 1.0, 2.0) == [True, False]


@settings(max_examples=200, derandomize=True, deadline=None)
@given(gaps=some.lists(some.integers(0, 8), max_size=40), restarts=some.integers(0, 5), within=some.integers(1, 10))
def test_a_refusal_means_too_many_in_some_window_and_nothing_else(gaps, restarts, within):
    budget = RestartBudget(Intensity(restarts, float(within)))
    now, past = 0.0, []

    for gap in gaps:
        now += gap
        past.append(now)
        assert budget.spend(now) == (sum(now - within <= one for one in past) <= restarts)
