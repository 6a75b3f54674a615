"""The suites that come with regrow, and ``regrow chaos list`` and ``check``."""

from pathlib import Path
from typing import Final

import pytest

from regrow.chaos.experiment import Target
from regrow.chaos.faults import parse
from regrow.chaos.kinds import KINDS
from regrow.chaos.scene import Need
from regrow.chaos.schedule import length_s, plan
from regrow.chaos.suites import ORDER, load, suites
from support.command import regrow

ROOT: Final = Path(__file__).parents[2]
BUSY_S: Final = {
    "cpu20ms": 0.02,
    "sleep100ms": 0.1,
    "sleep1s": 1.0,
    "once": 1.0,
    "poison": 0.5,
    "cancel": 0.3,
}
WRONG: Final = """\
version: 1
title: Wrong
workload: {rat: 5}
method:
  - {fault: kil, target: {role: worker}, at: 1s}
  - {fault: net.bandwidth, link: worker-dispatcher, at: 1s}
"""


def test_every_file_among_the_experiments_is_a_suite() -> None:
    files = {file.stem for file in (ROOT / "chaos" / "experiments").iterdir()}

    assert files == set(ORDER) == set(suites())


@pytest.mark.parametrize("name", ORDER)
def test_a_suite_has_faults_that_can_be_done(name: str) -> None:
    planned = plan(load(name))

    assert planned.steps
    for step in planned.steps:
        fault = parse(step.fault, step.options)
        assert step.target is not None or Need.VICTIM not in fault.needs, f"{step.fault} needs a target"


@pytest.mark.parametrize("name", ORDER)
def test_a_suite_leaves_half_of_the_slots_free(name: str) -> None:
    """What piles up by itself would hide what faults do."""
    experiment = load(name)
    shares = experiment.workload.mix
    busy = sum(share * BUSY_S.get(kind, 0.0) for kind, share in shares.items()) / sum(shares.values())

    assert experiment.workload.rate * busy <= experiment.configuration.workers * experiment.configuration.slots / 2


@pytest.mark.parametrize("name", ORDER)
def test_a_suite_asks_only_for_what_it_does(name: str) -> None:
    experiment = load(name)
    steps = plan(experiment).steps

    assert length_s(plan(experiment)) <= experiment.workload.duration_s, "the last faults hit nobody's tasks"
    for asked, least in experiment.expect.must_hit.items():
        fault, _, doing = asked.rpartition("_while_")
        can_hit = [step for step in steps if step.fault == fault and doing in ("anything", _doing(step.target))]
        assert len(can_hit) >= least, asked
    if "at_most_once" in experiment.expect.invariants:
        assert any(KINDS[kind].max_attempts == 1 for kind in experiment.workload.mix)


def _doing(target: Target | None) -> str:
    return "" if target is None else target.doing.removesuffix("_task")


def test_list_has_a_line_for_every_suite() -> None:
    ended = regrow("chaos", "list")

    lines = ended.stdout.splitlines()
    assert ended.returncode == 0, ended.stderr
    assert [line.split()[0] for line in lines[1 : len(ORDER) + 1]] == list(ORDER)
    assert all(load(name).description in line for name, line in zip(ORDER, lines[1:], strict=False))


def test_check_tells_how_much_a_valid_experiment_does() -> None:
    ended = regrow("chaos", "check", "smoke", str(ROOT / "chaos" / "experiments" / "poison.yaml"))

    assert ended.returncode == 0, ended.stderr
    first, second = ended.stdout.splitlines()
    assert first == f"smoke: valid, {len(plan(load('smoke')).steps)} faults, about 0.8 min"
    assert second.endswith("poison.yaml: valid, 4 faults, about 0.5 min")


def test_check_tells_every_mistake_of_every_file_with_its_line_and_key(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(WRONG)

    ended = regrow("chaos", "check", str(file), "smok", "smoke")

    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    assert lines[0] == f"{file} is no valid experiment:"
    assert lines[1] == f"{file}:3: workload.rat: there is no key 'rat' here; did you mean rate?"
    assert lines[2].startswith(f"{file}:5: method[0].fault: 'kil' is none of ")
    assert lines[2].endswith("did you mean kill?")
    assert lines[3].startswith(f"{file}:6: method[1]: net.bandwidth: it needs 'rate' ")
    assert lines[4].startswith("smok is no suite (smoke, ")
    assert lines[5].startswith("smoke: valid")
