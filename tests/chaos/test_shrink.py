"""``regrow chaos shrink`` on real runs of a regrow that is broken on purpose."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from regrow.chaos.schedule import plan
from regrow.chaos.suites import load
from support.chaos import broken, run
from support.command import complaint, environment, regrow
from support.waiting import wait_until

SHRINKS_S = 500.0
NOT_KEPT = (
    "actors/embedded.py",
    '"appendonly": "yes"',
    '"appendonly": "no"',
)  # what was acknowledged goes with the store
HARMLESS = """
  - {fault: net.delay, link: client-gateway, delay: 20ms, at: 0.2s, for: 300ms, background: true}
  - {fault: net.delay, link: gateway-store, delay: 20ms, at: 0.5s, for: 300ms, background: true}
  - {fault: net.slice, link: worker-dispatcher, at: 0.8s, for: 300ms, background: true}
  - {fault: stop, target: {role: gateway}, at: 1.1s, for: 100ms, background: true}
  - {fault: stop, target: {role: dispatcher}, at: 1.3s, for: 100ms, background: true}
"""
AMONG_OTHERS = f"""
version: 1
title: Which of them was it?
seed: 1
configuration: {{workers: 2, slots: 2}}
workload: {{rate: 10, duration: 3s, mix: {{noop: 0.6, sleep100ms: 0.4}}}}
method: {HARMLESS}
  - {{fault: kill, target: {{role: store}}, at: 2s}}
  - {{fault: net.delay, link: dispatcher-store, delay: 20ms, at: 2.5s, for: 300ms, background: true}}
settle: 5s
"""
CALM = """
version: 1
title: Nothing happens
configuration: {workers: 1, slots: 1}
workload: {rate: 5, duration: 1s}
method: []
"""


def shrinking(*words: str, variables: Mapping[str, str]) -> "subprocess.Popen[str]":
    """The command, under way."""
    command = [sys.executable, "-m", "regrow.runtime.cli", "chaos", "shrink", *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=environment(**variables),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_of_seven_faults_the_one_that_breaks_it_is_left_and_breaks_it_again(tmp_path: Path) -> None:
    variables = broken(tmp_path, NOT_KEPT)
    whole = run(tmp_path, AMONG_OTHERS, "--no-baseline", variables=variables)
    assert whole.code() == 1, whole.text

    text, _ = (command := shrinking(str(whole.dossier.path), variables=variables)).communicate(timeout=SHRINKS_S)

    assert command.returncode == 0, text
    file = whole.dossier.path / "shrinking" / "shrunk.yaml"
    left = plan(load(str(file))).steps
    guilty = whole.dossier.begun()[1].steps[5]
    assert guilty.fault == "kill"
    assert [(it.fault, it.at_s, it.seed, it.target) for it in left] == [(guilty.fault, 2.0, guilty.seed, guilty.target)]
    assert "1 of 7 faults are enough so far: 6" in text
    assert text.splitlines()[-1] == f"regrow chaos run {file} --seed 1"
    assert run(tmp_path / "again", file.read_text(), "--no-baseline", variables=variables).code() == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_who_breaks_it_off_has_the_fewest_so_far(tmp_path: Path) -> None:
    variables = broken(tmp_path, NOT_KEPT)
    whole = run(tmp_path, AMONG_OTHERS, "--no-baseline", variables=variables)
    out = tmp_path / "out"
    command = shrinking(str(whole.dossier.journal), "--out", str(out), variables=variables)
    wait_until((out / "run-002" / "journal.jsonl").exists, 120, "the second try is under way")

    os.killpg(command.pid, signal.SIGINT)
    text, _ = command.communicate(timeout=60)

    assert command.returncode == 3, text
    assert "interrupted" in text
    assert len(plan(load(str(out / "shrunk.yaml"))).steps) == 7


def test_a_run_that_broke_nothing_is_not_shrunk(tmp_path: Path) -> None:
    calm = run(tmp_path, CALM, "--no-baseline")

    refused = regrow("chaos", "shrink", str(calm.dossier.path))

    assert "only a run that was invalid can be shrunk" in complaint(refused, 3)
    assert not (calm.dossier.path / "shrinking").exists()
    assert "is not the directory of a run" in complaint(regrow("chaos", "shrink", str(tmp_path)), 3)
