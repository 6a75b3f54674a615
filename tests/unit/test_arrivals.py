"""When submits are due: fixed by the seed, at the rate that was asked for, whatever the pattern."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrow.chaos.arrivals import dues, kind_of
from regrow.chaos.experiment import Arrivals, Workload

RATES = st.floats(0.5, 500)
SEEDS = st.integers(0, 2**40)


@given(st.sampled_from(Arrivals), RATES, SEEDS)
def test_they_are_in_order_within_the_duration_and_the_same_each_time(
    arrivals: Arrivals, rate: float, seed: int
) -> None:
    workload = Workload(rate, 4.0, arrivals=arrivals, rate_to=2 * rate)

    found = list(dues(workload, seed))

    assert found == sorted(found)
    assert all(0 <= due < 4.0 for due in found)
    assert found == list(dues(workload, seed))


def test_a_constant_rate_is_even() -> None:
    assert list(dues(Workload(4.0, 1.0, arrivals=Arrivals.CONSTANT), 0)) == [0.0, 0.25, 0.5, 0.75]


def test_poisson_has_the_rate_on_average_and_gaps_that_spread_as_much() -> None:
    found = list(dues(Workload(100.0, 100.0), seed=3))
    gaps = [later - earlier for earlier, later in pairwise(found)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5

    assert len(found) == pytest.approx(10_000, rel=0.05)
    assert spread == pytest.approx(mean, rel=0.05)  # of an even rate it is 0
    assert found != list(dues(Workload(100.0, 100.0), seed=4))


def test_bursts_come_at_once_and_keep_the_rate() -> None:
    found = Counter(dues(Workload(20.0, 2.0, arrivals=Arrivals.BURSTS, burst=10), 0))

    assert found == {0.0: 10, 0.5: 10, 1.0: 10, 1.5: 10}


def test_a_ramp_goes_from_one_rate_to_the_other() -> None:
    found = list(dues(Workload(10.0, 10.0, arrivals=Arrivals.RAMP, rate_to=50.0), 0))

    assert len(found) == pytest.approx(300, abs=1)  # 30 a second on average
    assert sum(due < 1.0 for due in found) == pytest.approx(12, abs=1)
    assert sum(due >= 9.0 for due in found) == pytest.approx(48, abs=1)


def test_a_ramp_down_to_nothing_ends_there() -> None:
    found = list(dues(Workload(10.0, 4.0, arrivals=Arrivals.RAMP, rate_to=0.0), 0))

    assert len(found) == pytest.approx(20, abs=1)


def test_no_rate_is_no_submits() -> None:
    assert not list(dues(Workload(0.0, 10.0), 0))


def test_kinds_come_by_their_shares_and_never_without_one() -> None:
    workload = Workload(mix={"noop": 6.0, "raise": 3.0, "poison": 1.0, "large": 0.0})

    found = Counter(kind_of(workload, 7, number) for number in range(10_000))

    assert found["noop"] == pytest.approx(6000, rel=0.05)
    assert found["raise"] == pytest.approx(3000, rel=0.08)
    assert found["poison"] == pytest.approx(1000, rel=0.15)
    assert "large" not in found


@given(SEEDS, st.integers(0, 10_000))
def test_a_kind_belongs_to_seed_and_number_alone(seed: int, number: int) -> None:
    workload = Workload(mix={"noop": 0.1, "raise": 0.2, "sleep1s": 0.7})

    assert kind_of(workload, seed, number) == kind_of(workload, seed, number)
