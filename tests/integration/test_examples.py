"""The examples run and do what they say."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_counters_reach_their_goal_though_one_of_them_crashes() -> None:
    ended = subprocess.run(
        [sys.executable, EXAMPLES / "counter.py"], capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 0, ended.stderr
    crash, goal = ended.stdout.splitlines()
    assert crash.startswith("root/counters/counter-")
    assert "ended (signal:SIGABRT) at 5" in crash
    assert goal == "all counters are at 10"
