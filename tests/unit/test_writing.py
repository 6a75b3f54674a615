"""Experiments written to files: they are read as the same again."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrow.chaos.reading import read
from regrow.chaos.schedule import plan, spelled_out
from regrow.chaos.suites import WORDS
from regrow.chaos.writing import duration, written

SUITES = sorted((Path(__file__).parents[2] / "chaos" / "experiments").glob("*.yaml"))
ANY_OPTIONS = msgspec.structs.replace(
    WORDS, check=lambda _name, _options: None
)  # whether a suite is right is not asked here
ODD = """
version: 1
title: "[odd]: yes"
seed: 3
configuration: {mode: pull, fast_death: false, memory_budget: 1GiB, durability: everysec}
workload: {rate: 5, duration: 2m, mix: {noop: 1, sleep1s: 0.5}, arrivals: ramp, rate_to: 50}
steady-state-hypothesis:
  strategy: continuous
  every: 500ms
  probes:
    - {name: canary, type: task, tolerance: {type: range, range: [0, 500]}, timeout: 2s}
    - {name: body, type: http, url: "http://x/", tolerance: {type: regex, pattern: "ok$", target: body}}
    - {name: status, type: http, url: "http://x/", tolerance: [200, 204]}
    - {name: workers, type: tree, path: /workers, tolerance: {type: min, value: 3}}
method:
  - {fault: kill, target: {name: worker-0, pick: all, while: idle}, every: 5s, jitter: 1s, count: 3, seed: 9}
  - {fault: net.delay, link: worker-dispatcher, delay: 200ms, jitter: 50ms,
     every: 7s, count: 1, every_jitter: 20ms, for: 10s, background: true}
settle: 45s
expect: {invariants: [no_lost, no_overlap: 3.5s], recovery: {detect_p99: 3.3s}, must_hit: {kill_while_running: 2}}
stop_when: {gateway_down: 20s, faults_outstanding: 3}
"""


@pytest.mark.parametrize("file", SUITES, ids=lambda file: file.stem)
def test_a_suite_is_the_same_after_it_was_written_and_when_its_plan_is_spelled_out(file: Path) -> None:
    suite = read(file.read_text(), ANY_OPTIONS)
    spelled = spelled_out(suite, plan(suite).steps)

    assert read(written(suite, WORDS.faults), ANY_OPTIONS) == suite
    assert read(written(spelled, WORDS.faults), ANY_OPTIONS) == spelled
    assert plan(spelled) == plan(suite)


def test_whatever_can_be_said_can_be_written() -> None:
    assert read(written(read(ODD, WORDS), WORDS.faults), WORDS) == read(ODD, WORDS)


def test_some_steps_of_a_plan_keep_their_times_and_seeds() -> None:
    odd = read(ODD, WORDS)
    steps = plan(odd).steps[1:3]

    some = plan(read(written(spelled_out(odd, steps), WORDS.faults), WORDS)).steps

    assert [(step.at_s, step.fault, step.seed) for step in some] == [(it.at_s, it.fault, it.seed) for it in steps]
    assert [step.number for step in some] == [1, 2]


@given(st.floats(0, 1e9))
def test_a_duration_has_its_unit_and_is_still_the_same(seconds: float) -> None:
    told = duration(seconds)

    assert (float(told.removesuffix("s")) if isinstance(told, str) else told) == seconds
    assert duration(4.14) == "4.14s"
