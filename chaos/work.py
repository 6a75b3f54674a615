"""Shell: the tasks of a workload, as they run in slots; one function for each kind of ``kinds.KINDS``.

They travel by value, to trees that may know nothing of this module: they use the standard library alone.  Each writes what
happens to it into a file of its process, line by line, each with one write to a file opened for appending: a process that is
killed leaves at most its last line torn.  The token ``run`` is in these lines and in what is returned, and nowhere else.
"""

import json
import os
import time
from pathlib import Path
from typing import Any


def noop(number: int, witness: str) -> dict[str, Any]:
    """Return the number."""
    run = _start(number, witness)
    return _end(number, witness, run, number)


def cpu20ms(number: int, witness: str) -> dict[str, Any]:
    """Add up squares."""
    run = _start(number, witness)
    total = sum(n * n for n in range(250_000))
    return _end(number, witness, run, total + number)


def sleep100ms(number: int, witness: str) -> dict[str, Any]:
    """Sleep, and return the number."""
    run = _start(number, witness)
    time.sleep(0.1)
    return _end(number, witness, run, number)


def sleep1s(number: int, witness: str) -> dict[str, Any]:
    """Sleep for longer."""
    run = _start(number, witness)
    time.sleep(1.0)
    return _end(number, witness, run, number)


def sleep3s(number: int, witness: str) -> dict[str, Any]:
    """Sleep for so long that somebody cancels it."""
    run = _start(number, witness)
    time.sleep(3.0)
    return _end(number, witness, run, number)


def fail(number: int, witness: str) -> dict[str, Any]:
    """Raise."""
    run = _start(number, witness)
    _mark("raise", number, witness, run)
    raise ValueError(f"task {number} was asked to raise (run {run})")


def large(number: int, witness: str) -> dict[str, Any]:
    """Return 1 MB."""
    run = _start(number, witness)
    return _end(number, witness, run, f"{number:010d}" * 100_000)


def poison(number: int, witness: str) -> dict[str, Any]:
    """Kill the process that runs it."""
    _start(number, witness)
    os.kill(os.getpid(), 9)
    raise AssertionError("a dead process goes on")


def _start(number: int, witness: str) -> str:
    """A token of this run, which it has said it has begun."""
    run = os.urandom(8).hex()
    _mark("start", number, witness, run)
    return run


def _end(number: int, witness: str, run: str, value: Any) -> dict[str, Any]:
    _mark("end", number, witness, run)
    return {"number": number, "value": value, "run": run}


def _mark(word: str, number: int, witness: str, run: str) -> None:
    pid = os.getpid()
    mark = {"word": word, "number": number, "run": run, "pid": pid, "at": time.monotonic()}
    path = Path(witness) / f"{pid}.jsonl"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(file, json.dumps(mark).encode() + b"\n")
    finally:
        os.close(file)


FUNCTIONS = {
    "noop": noop,
    "cpu20ms": cpu20ms,
    "sleep100ms": sleep100ms,
    "sleep1s": sleep1s,
    "raise": fail,
    "large": large,
    "poison": poison,
    "once": sleep1s,
    "twice": noop,
    "cancel": sleep3s,
}
