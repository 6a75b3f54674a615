"""A dispatcher without a tree, in a process of its own, and workers that do just what a test says."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from regrow.actors import wire
from regrow.actors.dispatcher import Dispatcher, DispatcherArguments
from regrow.actors.task import Outcome, WorkerId
from regrow.actors.wire import Lease, Mode, TaskToRun
from regrow.runtime.actor import run_alone
from regrow.runtime.link import connect_dealer
from support.waiting import wait_until

M = TypeVar("M")
PATIENCE_S = 30.0


class LoneDispatcher:
    """One dispatcher; it can be ended and started again at the same address."""

    def __init__(self, arguments: DispatcherArguments, directory: Path) -> None:
        self.arguments = arguments
        self.log = directory / "dispatcher.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; workers may connect before it is there."""
        packed = msgspec.json.encode(self.arguments).decode()
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        command = [sys.executable, "-m", "support.lone_dispatcher", str(os.getpid()), packed]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, env=environment)

    def end(self, number: int = signal.SIGKILL) -> int:
        """End it by a signal; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE_S)

    def saw(self, event: str) -> bool:
        """Whether it has logged this event."""
        return f'"{event}"' in self.log.read_text()


@contextmanager
def lone_dispatcher(url: str, directory: Path, **fields: object) -> Iterator[LoneDispatcher]:
    """A running dispatcher on a unix socket with a short path."""
    with tempfile.TemporaryDirectory(prefix="dispatcher-") as place:
        arguments = DispatcherArguments(url, f"ipc://{place}/socket", **fields)  # type: ignore[arg-type]
        dispatcher = LoneDispatcher(arguments, directory)
        dispatcher.start()
        try:
            yield dispatcher
        finally:
            if dispatcher.process is not None and dispatcher.process.poll() is None:
                dispatcher.end()


class ScriptedWorker:
    """Speaks the workers' protocol, one step at a time."""

    def __init__(self, endpoint: str, name: str = "w", slots: int = 2, mode: Mode = Mode.PUSH) -> None:
        self.name, self.slots, self.mode = WorkerId(name), slots, mode
        self.inbox: list[wire.ToWorker] = []
        self._dealer = connect_dealer(endpoint, name.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._dealer.close()

    def say(self, message: wire.FromWorker) -> None:
        """Send."""
        self.send_frame(wire.encode(message))

    def send_frame(self, frame: bytes) -> None:
        """Send these bytes, whatever they are."""
        assert self._dealer.send(frame)

    def hello(self, held: list[Lease] | None = None, done: list[Lease] | None = None, said: int | None = None) -> None:
        """Register.  ``said``: it counts what it says."""
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        self.say(
            wire.Hello(
                wire.PROTOCOL, self.name, self.name, "host", os.getpid(), self.mode, self.slots, python, "0.4",
                held or [], done or [], said=said,
            )
        )  # fmt: skip

    def hear(self, kind: Callable[..., M], within: float = PATIENCE_S) -> M:
        """The next message of this kind; others stay in the inbox."""
        return wait_until(lambda: self._take(kind), within, f"{self.name} hears {kind}", every=0.0)  # type: ignore[return-value]

    def tasks(self, count: int) -> list[TaskToRun]:
        """The next ``count`` tasks, in however many messages they come."""
        tasks: list[TaskToRun] = []
        while len(tasks) < count:
            tasks += self.hear(wire.Run).tasks
        return tasks

    def finish(self, tasks: list[TaskToRun], ran_s: float = 0.001) -> None:
        """Report a value for each: its own parameters."""
        self.say(wire.Done([Outcome(task.task_id, task.attempt, task.params, ran_s=ran_s) for task in tasks]))

    def is_silent(self, for_s: float) -> bool:
        """Whether nothing comes for so long.  For what must not happen there is no event to wait for."""
        deadline = time.monotonic() + for_s
        while not self.inbox and (left := deadline - time.monotonic()) > 0:
            self._dealer.wait(left)
            self._drain()
        return not self.inbox

    def live(self, for_s: float) -> None:
        """Beat for so long, and listen."""
        deadline = time.monotonic() + for_s
        beat_at = 0.0
        while (now := time.monotonic()) < deadline:
            if now >= beat_at:
                self.say(wire.Beat([]))
                beat_at = now + 0.5
            self._dealer.wait(min(beat_at, deadline) - now)
            self._drain()

    def _take(self, kind: Callable[..., M]) -> M | None:
        if not self.inbox:
            self._dealer.wait(0.05)
            self._drain()
        for at, message in enumerate(self.inbox):
            if isinstance(message, kind):  # type: ignore[arg-type]
                return self.inbox.pop(at)  # type: ignore[return-value]
        if self.inbox:
            self._dealer.wait(0.05)
            self._drain()
        return None

    def _drain(self) -> None:
        self.inbox += [wire.decode_to_worker(frame) for frame in self._dealer.receive()]


def main(parent: int, packed: str) -> int:
    """The dispatcher's process, which dies with the one that started it."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return 1
    return run_alone(Dispatcher, msgspec.json.decode(packed, type=DispatcherArguments), "dispatcher")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
