"""How long the checker takes for a large run: ``python -m benchmarks.checker [TASKS [STRIKES]]``, a run on paper of ``tests/support``."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from regrow.chaos.checker import check
from support.histories import valid

MIX = {"noop": 6, "cpu20ms": 3, "sleep100ms": 2, "raise": 1, "once": 1}


def main(tasks: int = 36_000, strikes: int = 200) -> None:
    """Make the evidence, judge it, say how long that took."""
    evidence = valid(5, tasks=tasks, strikes=strikes, workers=40, rate=200.0, mix=MIX)
    began = time.process_time()
    findings = check(evidence)
    took_s = time.process_time() - began
    sizes = (
        f"{len(evidence.ops):,} calls, {len(evidence.marks):,} marks, {len(evidence.moves):,} events, {strikes} faults"
    )
    print(f"{sizes}: {findings.verdict} after {took_s:.2f} s of CPU")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
