"""The ``regrow`` command as a user runs it."""

import os
import subprocess
import sys


def environment(**more: str) -> dict[str, str]:
    """Ours without settings of this user's, and ``more``."""
    return {name: value for name, value in os.environ.items() if not name.startswith("REGROW_")} | more


def regrow(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    command = [sys.executable, "-m", "regrow.runtime.cli", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env=environment(**more), cwd="/"
    )


def complaint(ended: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """The one line that it wrote before it ended with ``code``."""
    assert ended.returncode == code, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr.startswith("regrow: ")
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr
