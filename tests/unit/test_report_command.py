"""Which run 'regrow chaos report' takes when none is named."""

import os
from pathlib import Path

import pytest

from regrow.chaos.report_command import newest
from regrow.runtime.errors import ConfigError


def run(name: str, begun: int, *files: str) -> Path:
    place = Path("regrow-chaos") / name
    place.mkdir(parents=True)
    for file in files:
        (place / file).touch()
        os.utime(place / file, (begun, begun))
    return place


def test_the_newest_run_is_one_that_left_something_to_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("first", 1, "experiment.json", "evidence.json")
    last = run("second", 2, "experiment.json", "evidence.json")
    run("broken-off-at-its-start", 3, "experiment.json")

    assert newest() == last


def test_where_no_run_is_the_way_to_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("broken-off-at-its-start", 3, "experiment.json")

    with pytest.raises(ConfigError, match="make one with 'regrow chaos run SUITE'"):
        newest()
