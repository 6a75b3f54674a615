"""A chaos process that makes faults and then waits to be killed: ``python -m support.striker GATEWAY HOOKS JOURNAL STEP...``.

It prints the pid of its guardian, and of each helper that its faults have started, as JSON, when all are made.
"""

import sys
from pathlib import Path

import msgspec

from regrow.chaos.experiment import Step
from regrow.chaos.nemesis import Nemesis
from regrow.chaos.scene import Scene


class Made(msgspec.Struct):
    """What it prints."""

    guardian: int
    details: list[str]


def main() -> None:
    """Strike, say so, and wait."""
    gateway, hooks, journal, *steps = sys.argv[1:]
    with Nemesis(Scene.of(gateway, hooks=Path(hooks)), Path(journal), title="striker") as nemesis:
        details = []
        for step in steps:
            for strike in nemesis.strike(msgspec.json.decode(step, type=Step)):
                assert strike.applied_at is not None, strike.detail
                details.append(strike.detail)
        assert nemesis.guardian is not None
        sys.stdout.buffer.write(msgspec.json.encode(Made(nemesis.guardian.pid, details)) + b"\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
