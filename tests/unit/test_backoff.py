"""Delays along a crash loop, and when it is hopeless."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from regrow.runtime.backoff import CrashLoop, delay_s
from regrow.runtime.spec import Backoff, ExitReason, ReasonKind

EVEN = Backoff(jitter=0.0)
MIDDLE = 0.5


def test_a_healthy_life_is_followed_by_a_restart_at_once():
    assert delay_s(Backoff(), 0, 0.99) == 0.0


def test_delays_double_up_to_their_bound():
    delays = [delay_s(EVEN, length, MIDDLE) for length in range(1, 11)]

    assert delays == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0])


def test_a_very_long_loop_stays_at_the_bound():
    assert delay_s(EVEN, 100_000, MIDDLE) == 10.0


def test_a_minimum_of_nothing_switches_delays_off():
    assert [delay_s(Backoff(min_s=0.0), length, 0.9) for length in (0, 1, 9)] == [0.0, 0.0, 0.0]


@settings(max_examples=100, derandomize=True, deadline=None)
@given(length=some.integers(1, 3000), spread=some.floats(0.0, 1.0, exclude_max=True))
def test_jitter_keeps_within_its_fraction_of_the_mean(length, spread):
    mean = delay_s(EVEN, length, spread)

    assert 0.8 * mean - 1e-9 <= delay_s(Backoff(jitter=0.2), length, spread) <= 1.2 * mean + 1e-9


@pytest.mark.parametrize(
    ("ready_at", "ended_at", "length"), [(None, 50.0, 4), (9.5, 10.0, 4), (9.0, 10.0, 0), (2.0, 10.0, 0)]
)
def test_only_a_life_that_was_ready_for_long_enough_ends_a_loop(ready_at, ended_at, length):
    loop = CrashLoop(Backoff(reset_after_s=1.0), length=3)

    loop.record(ready_at, ExitReason(ReasonKind.EXIT, "1"), ended_at)

    assert loop.length == length
    assert (loop.delay_s(MIDDLE) == 0.0) == (length == 0)


def test_the_sixth_bad_start_in_a_row_is_hopeless():
    loop = CrashLoop(Backoff(give_up_after=6))
    verdicts = []
    for _ in range(6):
        loop.record(None, ExitReason(ReasonKind.EXCEPTION, "ImportError"), 0.0)
        verdicts.append(loop.is_hopeless)

    assert verdicts == [False] * 5 + [True]


@pytest.mark.parametrize(
    ("reason", "length"),
    [
        (ExitReason(ReasonKind.SIGNAL, "SIGKILL"), 3),
        (ExitReason(ReasonKind.SHUTDOWN), 3),
        (ExitReason(ReasonKind.SHUTDOWN, "max_intensity"), 4),
        (ExitReason(ReasonKind.SIGNAL, "SIGSEGV"), 4),
        (ExitReason(ReasonKind.NORMAL), 4),
        (ExitReason(ReasonKind.START_TIMEOUT), 4),
        (ExitReason(ReasonKind.HEARTBEAT_LOST), 4),
    ],
    ids=str,
)
def test_an_end_that_came_from_outside_says_nothing_of_a_crash_loop(reason, length):
    loop = CrashLoop(Backoff(), length=3)

    loop.record(None, reason, 1.0)

    assert loop.length == length
