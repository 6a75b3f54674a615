"""The tasks of a workload: what they return and write is what the checker expects, and they travel alone."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from regrow.chaos.history import Mark
from regrow.chaos.kinds import KINDS, shown, value_of
from regrow.chaos.lines import read_lines
from regrow.chaos.portable import portable
from regrow.gateway import by_value

RUN_ELSEWHERE = """
import sys, cloudpickle
sys.modules["regrow"] = None  # whoever imports it fails
from pathlib import Path
function = cloudpickle.loads(Path(sys.argv[1]).read_bytes())
print(function(7, sys.argv[2])["value"])
"""


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"poison", "raise"}))
def test_a_task_returns_what_is_expected_of_its_kind_and_ties_it_to_its_marks(kind: str, tmp_path: Path) -> None:
    answer = by_value.loads(portable(kind))(7, str(tmp_path))

    (file,) = tmp_path.iterdir()
    start, end = read_lines(file, Mark)
    assert shown(answer["value"]) == value_of(kind, 7)
    assert (start.word, end.word) == ("start", "end")
    assert {start.run, end.run} == {answer["run"]}
    assert start.number == end.number == answer["number"] == 7
    assert start.at <= end.at


def test_a_task_that_raises_says_so_first_and_names_its_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="asked to raise") as raised:
        by_value.loads(portable("raise"))(7, str(tmp_path))

    (file,) = tmp_path.iterdir()
    start, about = read_lines(file, Mark)
    assert (start.word, about.word) == ("start", "raise")
    assert f"(run {about.run})" in str(raised.value)


def test_a_poisonous_task_has_started_when_it_kills_its_process(tmp_path: Path) -> None:
    function = tmp_path / "function"
    function.write_bytes(portable("poison"))
    witness = tmp_path / "witness"
    witness.mkdir()

    ended = subprocess.run([sys.executable, "-c", RUN_ELSEWHERE, function, witness], capture_output=True, check=False)

    (file,) = witness.iterdir()
    assert ended.returncode == -9
    assert [mark.word for mark in read_lines(file, Mark)] == ["start"]


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"poison", "raise", "large"}))
def test_a_task_runs_where_regrow_is_not(kind: str, tmp_path: Path) -> None:
    function = tmp_path / "function"
    function.write_bytes(portable(kind))
    command = [sys.executable, "-c", RUN_ELSEWHERE, function, tmp_path]

    ended = subprocess.run(command, capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == value_of(kind, 7)


def test_a_line_that_its_writer_did_not_finish_is_left_out(tmp_path: Path) -> None:
    whole = msgspec.json.encode(Mark("start", 1, "ab", 2, 3.0))
    file = tmp_path / "torn.jsonl"
    file.write_bytes(whole + b"\n" + whole[:20])

    assert read_lines(file, Mark) == [Mark("start", 1, "ab", 2, 3.0)]
