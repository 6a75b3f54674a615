"""Crash points: nothing at all without the variable, one death per file with it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from regrow.runtime import crashpoint

PROGRAM = """
from regrow.runtime.crashpoint import guarded
step = guarded(lambda number: print(number, flush=True), lambda number: f"step{number % 2}")
for number in range(6):
    step(number)
"""


def run(file: Path) -> tuple[int, list[str]]:
    """The exit code of the program, and what it came to."""
    environment = os.environ | {crashpoint.VARIABLE: str(file)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.split()


def test_a_process_without_the_variable_makes_its_calls_unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(crashpoint.VARIABLE, raising=False)

    assert crashpoint.guarded(len, str) is len


def test_an_armed_process_dies_at_its_point_once_and_leaves_word(tmp_path: Path) -> None:
    trap = tmp_path / "trap"

    crashpoint.arm(trap, "step1.before", passes=2)
    first, again = run(trap), run(trap)

    assert first == (-signal.SIGKILL, ["0", "1", "2"])
    assert crashpoint.fired_file(trap).read_text().startswith("step1.before ")
    assert again == (0, ["0", "1", "2", "3", "4", "5"])


def test_after_is_once_the_call_has_returned(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    crashpoint.arm(trap, "step1.after")

    assert run(trap) == (-signal.SIGKILL, ["0", "1"])
