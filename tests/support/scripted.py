"""A scripted dispatcher: a raw Router that speaks the workers' protocol, and a worker process to talk to."""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import dill
import msgspec

from regrow.actors import wire
from regrow.actors.task import Digest, Outcome, TaskId
from regrow.actors.worker import WorkerArguments
from regrow.runtime.link import Poller, bind_router
from support.functions import by_value, call
from support.processes import is_alive
from support.waiting import wait_until

T = TypeVar("T")
PROGRAM = Path(__file__).with_name("lone_worker.py")
WITHIN_S = 20.0


def digest_of(code: bytes) -> Digest:
    return Digest(hashlib.sha256(code).hexdigest())


class Dispatcher:
    """Answers greetings, beats and questions for code as a dispatcher does, unless told not to; keeps what it hears."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.codes: dict[Digest, bytes | None] = {}
        self.heard: list[Any] = []
        self.outcomes: dict[str, Outcome] = {}
        self.welcomes = True
        self.acknowledges = True
        self.peer = b""
        self.sent: int | None = None  # messages that it says it has sent; None: it does not count
        self.is_introduced = False
        self.names = 0
        self._open()

    def _open(self) -> None:
        self.router = bind_router(self.address)
        self.poller = Poller()
        self.poller.add(self.router)

    def close(self) -> None:
        self.poller.remove(self.router)
        self.router.close()
        self.poller.close()

    def reopen(self) -> None:
        """Come back as a new incarnation, which has heard nothing."""
        self.heard.clear()
        self.is_introduced = False
        self._open()

    def tell(self, message: wire.ToWorker) -> None:
        assert self.router.send(self.peer, wire.encode(message)), "the worker is gone"

    def task(self, function: Callable[..., Any] | bytes, *args: Any, expected_s: float | None = None) -> wire.TaskToRun:
        """A new task; its function is known here when it is asked for."""
        code = function if isinstance(function, bytes) else by_value(function)
        digest = digest_of(code)
        self.codes.setdefault(digest, code)
        self.names += 1
        return wire.TaskToRun(TaskId(f"task-{self.names}"), 1, digest, call(*args), expected_s)

    def run(self, *tasks: wire.TaskToRun) -> list[str]:
        """Send them; their ids.  To the worker as it is now: it connects anew when its beats went unanswered for long."""
        self.listen(0.0)
        self.tell(wire.Run(list(tasks)))
        return [task.task_id for task in tasks]

    def listen(self, timeout_s: float) -> list[Any]:
        """What arrives now, after it was answered."""
        self.poller.wait(timeout_s)
        news = []
        for identity, frame in self.router.receive():
            self.peer = identity
            message = wire.decode_from_worker(frame)
            self._answer(message)
            news.append(message)
        self.heard += news
        return news

    def _answer(self, message: wire.FromWorker) -> None:
        match message:
            case wire.Hello():
                self.is_introduced = True
                if self.welcomes:
                    self.tell(wire.Welcome("dispatcher-1", 1.0, 3.0))
            case _ if not self.is_introduced:
                self.tell(wire.WhoAreYou())
            case wire.Beat():
                self.tell(wire.Reflect(self.sent))
            case wire.NeedCode(digests):
                self.tell(wire.Code({digest: self.codes[digest] for digest in digests}))
            case wire.Done(outcomes):
                self.outcomes.update((outcome.task_id, outcome) for outcome in outcomes)
                if self.acknowledges:
                    self.tell(wire.Ack([wire.Lease(outcome.task_id, outcome.attempt) for outcome in outcomes]))

    def until(self, probe: Callable[[], T], what: str, within: float = WITHIN_S) -> T:
        """Listen until the probe is true."""
        deadline = time.monotonic() + within
        while not (seen := probe()):
            assert time.monotonic() < deadline, f"not within {within} s: {what}; heard: {self.heard[-5:]}"
            self.listen(0.02)
        return seen

    def expect(self, kind: type[T], within: float = WITHIN_S) -> T:
        """The next message of this kind, taken out of what was heard."""
        message: T = self.until(
            lambda: next((m for m in self.heard if isinstance(m, kind)), None), kind.__name__, within
        )
        self.heard.remove(message)
        return message

    def result(self, task_id: str, within: float = WITHIN_S) -> Any:
        """The value of a task that succeeds."""
        outcome = self.until(lambda: self.outcomes.get(task_id), f"outcome of {task_id}", within)
        assert outcome.value is not None, outcome.failure
        return dill.loads(outcome.value)

    def failure(self, task_id: str, within: float = WITHIN_S) -> Any:
        """The failure of a task that fails."""
        outcome = self.until(lambda: self.outcomes.get(task_id), f"outcome of {task_id}", within)
        assert outcome.failure is not None
        return outcome.failure


@contextmanager
def dispatcher() -> Iterator[Dispatcher]:
    with tempfile.TemporaryDirectory(prefix="rg-") as folder:
        scripted = Dispatcher(f"ipc://{folder}/d")
        try:
            yield scripted
        finally:
            scripted.close()


@contextmanager
def worker(address: str, log: Path, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process without a supervisor; whatever happens, it and its slots are gone afterwards."""
    arguments = msgspec.json.encode(WorkerArguments(address, **settings)).decode()
    environment = {**os.environ, "REGROW_SECRET": "hidden", "TMPDIR": str(log.parent)}
    with log.open("ab") as file:
        process = subprocess.Popen([sys.executable, str(PROGRAM), arguments], stderr=file, env=environment)
    try:
        yield process
    finally:
        with_slots = children(process.pid)
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(10)
        wait_until(lambda: not any(map(is_alive, with_slots)), within=2, what="its slots are gone, too")


def children(pid: int) -> list[int]:
    """Its child processes."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
