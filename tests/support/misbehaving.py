"""Functions that misbehave, and write that they were started to a witness file outside of the system; and what tests read there.

The functions here are what tests submit: they travel by value, so no slot needs this module.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple


class Start(NamedTuple):
    """One start of a task."""

    name: str
    pid: int
    at: float


def starts(witness: Path, name: str = "") -> list[Start]:
    """All starts, or those of one task, in their order."""
    if not witness.exists():
        return []
    lines = [line.split() for line in witness.read_text().splitlines()]
    return [Start(who, int(pid), float(at)) for who, pid, at in lines if name in ("", who)]


def note(witness: str, name: str) -> str:
    """The shortest work: its start is on record; its name is its value."""
    with open(witness, "a") as file:
        file.write(f"{name} {os.getpid()} {time.time()}\n")
    return name


def fail_until(witness: str, name: str, count: int, error: Any = OSError) -> int:
    """Raises at its first ``count - 1`` starts, and returns at the next how often it was started."""
    note(witness, name)
    started = sum(line.split()[0] == name for line in Path(witness).read_text().splitlines())
    if started < count:
        raise error(f"start {started} of {name}")
    return started


def wait_for(witness: str, name: str, gate: str) -> str:
    """Runs until a file is there; none at all: only a moment."""
    note(witness, name)
    while gate and not Path(gate).exists():
        time.sleep(0.005)
    return name


def die(witness: str, name: str, how: int = 0) -> None:
    """Ends its process: by a signal, or without a word."""
    note(witness, name)
    print("the last words of", name)  # noqa: T201 (what a task prints)
    sys.stdout.flush()
    if how:
        if how != signal.SIGKILL:
            signal.signal(how, signal.SIG_DFL)
        os.kill(os.getpid(), how)
        time.sleep(10)
    os._exit(3)


def die_unless(witness: str, name: str, cure: str) -> str:
    """Ends its process, unless a file is there."""
    if not Path(cure).exists():
        die(witness, name)
    return note(witness, name)
