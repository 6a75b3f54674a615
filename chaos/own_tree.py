"""Shell: a whole tree that a run starts for itself, in a private directory, and that ends with this process whatever happens to it."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from regrow.chaos.census import Process, processes
from regrow.chaos.experiment import Configuration
from regrow.chaos.lineage import NoVictim, lives, send, start_time
from regrow.chaos.program import Program
from regrow.runtime import endpoints
from regrow.runtime.hooks import VARIABLE

PREFIX: Final = "regrow-chaos-"  # of the private directory; then pid and start time of the process that made it
READY_WITHIN_S: Final = 30.0
STOP_WITHIN_S: Final = 20.0
GONE_WITHIN_S: Final = 2.0  # after the root, as fate sharing promises
LOOK_AGAIN_S: Final = 0.02


class OwnTree:
    """One tree on one data directory; it can be started again there after its root was killed."""

    def __init__(self, configuration: Configuration, home: Path, log: Path) -> None:
        """Starts nothing yet."""
        self._configuration = configuration
        self._home = home
        self._log = log
        self._port = 0
        self._program: Program | None = None
        self._seen: set[Process] = set()
        if not configuration.fast_death:
            (home / "slow_death").touch()

    def start(self) -> None:
        """Begin to.  To be called on the main thread: the tree is killed when the thread that has started it ends."""
        if self._program is not None:
            self._program.close()
        variables = {VARIABLE: str(self._home)}
        self._program = Program("regrow.runtime.cli", *self._words(), log=self._log, variables=variables)

    def wait_ready(self) -> str:
        """Its gateway's URL, the same after each start.  Raises ProgramFailed."""
        self.program.read_until("Ctrl-C", READY_WITHIN_S)
        gateway = endpoints.find(self._home / "data")["gateway"]
        self._port = int(gateway.rpartition(":")[2])
        self.notice()
        return gateway

    @property
    def program(self) -> Program:
        """Its root."""
        assert self._program is not None, "it was not started"
        return self._program

    def notice(self) -> None:
        """Remember which processes it has now: all of them have to be gone at the end."""
        self._seen |= set(processes(self.program.pid))

    def end(self) -> tuple[str, ...]:
        """Stop it; the processes that lived on for longer than they may, its root among them, which are killed then."""
        self.notice()
        has_ended = self.program.ends(STOP_WITHIN_S)
        late = f"{GONE_WITHIN_S:g} s after its root had ended"
        if not has_ended:
            late = f"{STOP_WITHIN_S:g} s after the tree was asked to stop"
        deadline = time.monotonic() + (GONE_WITHIN_S if has_ended else 0.0)
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(LOOK_AGAIN_S)
        names = tuple(f"{_command(pid)} (pid {pid}), {late}" for pid, _ in left)
        self.kill()
        return names

    def kill(self) -> None:
        """Whatever is left of it, at once."""
        if self._program is None:
            return
        if not self._program.has_ended():
            self.notice()
        for pid, started_at in self._left():
            with suppress(NoVictim):
                send(pid, started_at, signal.SIGKILL)
        self._program.close()

    def _left(self) -> list[Process]:
        return [(pid, started_at) for pid, started_at in sorted(self._seen) if lives(pid, started_at)]

    def _words(self) -> list[str]:
        given: Mapping[str, object] = {
            "port": self._port,
            "dispatcher-port": 0,
            "data-dir": self._home / "data",
            "mode": self._configuration.mode,
            "workers": self._configuration.workers,
            "slots": self._configuration.slots,
            "durability": self._configuration.durability,
            "memory-budget-bytes": self._configuration.memory_budget_bytes,
            "max-queued": self._configuration.max_queued,
        }
        words = [(f"--{name}", str(value)) for name, value in given.items() if value is not None]
        return ["up", "--allow-chaos", *(word for pair in words for word in pair)]


def remove_former() -> None:
    """The directories of runs that were killed: their trees have ended with them."""
    for former in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(ValueError):
            pid, started_at, _ = former.name.removeprefix(PREFIX).split("-")
            if not lives(int(pid), int(started_at)):
                shutil.rmtree(former, ignore_errors=True)


@contextmanager
def private_home() -> Iterator[Path]:
    """A directory for the time of the block."""
    remove_former()
    me = os.getpid()
    home = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{me}-{start_time(me)}-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "?"
