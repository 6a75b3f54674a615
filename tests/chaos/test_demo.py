"""The demo, as a newcomer runs it."""

import subprocess
import sys

import pytest


@pytest.mark.timeout(120)
def test_the_demo_kills_a_worker_and_proves_that_nothing_was_lost() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "regrow.runtime.cli", "demo"], capture_output=True, text=True, timeout=110, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert "both counts are equal" in ended.stdout
    assert "SIGKILL to root/workers/worker-" in ended.stdout
    assert "back after" in ended.stdout
    assert ended.stderr == ""
