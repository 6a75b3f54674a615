"""Shell: ``regrow demo``: real work on a real tree, with a worker killed in the middle, checked against the same work done here.

The work: how often each word occurs in the source files of the running Python's standard library, one task per file.
"""

import re
import sysconfig
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, as_completed
from contextlib import contextmanager
from pathlib import Path

import msgspec
import urllib3
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from regrow.chaos.evidence import Strike
from regrow.chaos.experiment import Step, Target
from regrow.chaos.nemesis import Nemesis
from regrow.chaos.program import Program
from regrow.chaos.scene import Scene
from regrow.gateway.client import Client
from regrow.runtime import endpoints
from regrow.runtime.errors import RegrowError

WORD = re.compile(r"[^\W\d_]+")
STRIKE_AFTER = 1 / 3  # part of the files that are done when the worker is killed
RECOVERY_WITHIN_S = 15.0
READY_WITHIN_S = 30.0
STOP_WITHIN_S = 20.0


class DemoFailed(RegrowError):
    """The demo did not end as it should; the message says where the tree's log is."""

    code = "demo_failed"


class Tally(msgspec.Struct):
    """What the demo found out."""

    words: Counter[str]
    took_s: float
    victim: str
    recovery_s: float
    ran_again: int


def count_words(path: str) -> dict[str, int]:
    """How often each word occurs in one file, in lower case."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    return dict(Counter(WORD.findall(text.lower())))


def library_files() -> list[str]:
    """The Python source files of the standard library."""
    folder = Path(sysconfig.get_path("stdlib"))
    return sorted(str(file) for file in folder.rglob("*.py") if "site-packages" not in file.parts)


def demo(seed: int, workers: int, slots: int, console: Console) -> int:
    """Run the whole demo.  Returns 0 only if the service's counts equal the local ones."""
    files = library_files()
    console.print(
        f"\n[bold]regrow demo[/]  word counts of {len(files):,} files of the standard library, one task per file\n"
    )
    with running_tree(workers, slots) as (gateway, picture):
        console.print(picture)
        tally = count_by_service(gateway, files, seed, console)
    began = time.monotonic()
    local: Counter[str] = Counter()
    for file in files:
        local.update(count_words(file))
    is_equal = local == tally.words
    console.print(report(tally, files, time.monotonic() - began, is_equal))
    return 0 if is_equal else 1


@contextmanager
def running_tree(workers: int, slots: int) -> Iterator[tuple[str, str]]:
    """A whole tree on free ports in a fresh directory; gives its gateway's URL and its picture.  Stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="regrow-demo-") as folder:
        data_dir = Path(folder) / "data"
        flags = f"up --port 0 --dispatcher-port 0 --workers {workers} --slots {slots} --data-dir {data_dir}".split()
        with Program("regrow.runtime.cli", *flags, log=Path(folder) / "log") as tree:
            try:
                picture = tree.read_until("Ctrl-C", within_s=READY_WITHIN_S)
                yield endpoints.find(data_dir)["gateway"], picture
            except BaseException:
                tree.keep_log()
                raise
            code = tree.stop(within_s=STOP_WITHIN_S)
        if code != 0:
            raise DemoFailed(f"the tree ended with exit code {code}; its log: {tree.keep_log()}")


def count_by_service(gateway: str, files: list[str], seed: int, console: Console) -> Tally:
    """Count by tasks, and kill a worker when a third of them are done."""
    began = time.monotonic()
    words: Counter[str] = Counter()
    with Client(gateway) as client, Nemesis(Scene.of(gateway)) as nemesis, progress_bar(console) as bar:
        line = bar.add_task("counting", total=len(files))
        futures = [client.submit(count_words, file) for file in files]
        blow: TimedKill | None = None
        for done, future in enumerate(as_completed(futures), start=1):
            words.update(future.result())
            bar.update(line, completed=done)
            if blow is None and done >= len(files) * STRIKE_AFTER:
                blow = TimedKill(nemesis, seed)
                bar.console.print(f"  [red]✂[/] SIGKILL to {blow.victim} (pid {blow.pid})")
        took_s = time.monotonic() - began
        if blow is None:
            raise DemoFailed("there was nothing to count")
        return Tally(words, took_s, blow.victim, blow.recovery.result(), reruns(gateway))


def reruns(gateway: str) -> int:
    """How many tasks went back to the queue because their worker was lost, as the gateway's metrics say."""
    lines = urllib3.request("GET", f"{gateway}/metrics").data.decode().splitlines()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith('regrow_tasks_requeued_total{move="lose_worker"')
    )


class TimedKill:
    """A worker killed now, and the time until another runs in its place, taken beside the work."""

    def __init__(self, nemesis: Nemesis, seed: int) -> None:
        self.strike = nemesis.strike(Step(1, 0.0, "kill", {}, Target(), None, seed))[0]
        if self.strike.victim is None or self.strike.applied_at is None:
            raise DemoFailed(f"no worker could be killed: {self.strike.detail}")
        self.victim, self.pid = self.strike.victim.path, self.strike.victim.pid
        self.recovery: Future[float] = Future()
        threading.Thread(target=self._time_it, args=(nemesis, self.strike), daemon=True).start()

    def _time_it(self, nemesis: Nemesis, strike: Strike) -> None:
        try:
            self.recovery.set_result(nemesis.recovery_s(strike, RECOVERY_WITHIN_S))
        except RegrowError as error:
            self.recovery.set_exception(error)


def progress_bar(console: Console) -> Progress:
    """Name, bar, n of m, and the time."""
    return Progress(
        TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def report(tally: Tally, files: list[str], local_s: float, is_equal: bool) -> Table:
    """What happened, as a small table."""
    table = Table(show_header=False, box=None, padding=(0, 2))
    top = ", ".join(f"{word} {count:,}" for word, count in tally.words.most_common(4))
    table.add_row("words counted", f"{tally.words.total():,} in {len(files):,} files, {len(tally.words):,} different")
    table.add_row("most frequent", top)
    table.add_row("on the tree", f"{tally.took_s:.1f} s, {len(files) / tally.took_s:,.0f} tasks/s")
    table.add_row("here, in one process", f"{local_s:.1f} s")
    table.add_row("killed", f"{tally.victim}; back after {tally.recovery_s * 1000:,.0f} ms")
    table.add_row("tasks that ran again", str(tally.ran_again))
    table.add_row(
        "lost or different", "[green]none: both counts are equal[/]" if is_equal else "[red]THE COUNTS DIFFER[/]"
    )
    return table
