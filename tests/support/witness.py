"""Work that testifies: each run of a task appends to a file of the test's own, which regrow does not know of.

::

    witness = Witness(tmp_path / "witness")
    function_id = cluster.register(witness.work)
    task_id = cluster.submit(function_id, 7, 0.5)      # sleeps for half a second
    ...
    assert cluster.value(task_id) == witness.value(7)
    assert witness.starts() == {7: 1}

A line is one write to a file opened with O_APPEND: runs in many processes do not disturb each other, and a SIGKILL leaves
whole lines only. Times are monotonic seconds of the machine, comparable with the test's own.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from support.processes import is_alive


class Run(NamedTuple):
    """One attempt at one task, as it was seen from inside. ``ended`` is ``None`` while it runs, and for ever if it died."""

    number: int
    pid: int
    started: float
    ended: float | None


class Witness:
    """The file, and what it says. ``work(number, seconds=0.0)`` is the function to register."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.work = work_into(str(path))

    @staticmethod
    def value(number: int) -> int:
        """What ``work`` returns for this number."""
        return number * number

    def runs(self) -> list[Run]:
        """All of them, in the order in which they started."""
        found: list[Run] = []
        open_runs: dict[tuple[int, int], int] = {}
        for line in self._lines():
            word, number, pid, at = line.split()
            name = (int(number), int(pid))
            if word == "start":
                open_runs[name] = len(found)
                found.append(Run(*name, float(at), None))
            else:
                place = open_runs.pop(name)
                found[place] = found[place]._replace(ended=float(at))
        return found

    def starts(self) -> Counter[int]:
        """How often each number was started."""
        return Counter(run.number for run in self.runs())

    def ends(self) -> Counter[int]:
        """How often each number came to its end."""
        return Counter(run.number for run in self.runs() if run.ended is not None)

    def at_work(self) -> list[Run]:
        """Runs that have not ended, in processes that live."""
        return [run for run in self.runs() if run.ended is None and is_alive(run.pid)]

    def _lines(self) -> list[str]:
        if not self.path.exists():
            return []
        whole, _, _ = self.path.read_text().rpartition("\n")
        return whole.splitlines()


def work_into(path: str) -> Callable[..., int]:
    """The function that tasks run. It travels by value, since it is defined in here."""

    def work(number: int, seconds: float = 0.0) -> int:
        import os
        import time

        def say(word: str) -> None:
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(file, f"{word} {number} {os.getpid()} {time.monotonic()}\n".encode())
            os.close(file)

        say("start")
        time.sleep(seconds)
        say("end")
        return number * number

    return work
