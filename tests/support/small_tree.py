"""A store, and a tree of one dispatcher and some workers: what it takes to run tasks, without a gateway.

The dispatcher can be made to die at its crash points; the tree's root starts it again.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dill

from regrow.actors.dispatcher import Dispatcher, DispatcherArguments
from regrow.actors.task import FunctionId, State, TaskId, TaskRecord
from regrow.actors.wire import Mode
from regrow.actors.worker import Worker, WorkerArguments
from regrow.runtime import crashpoint
from regrow.runtime.reference import branch, child
from regrow.runtime.spec import ExitReason, Intensity, SupervisorSpec
from support.functions import by_value, call
from support.processes import is_alive
from support.tasks import read, register, submit
from support.trees import RunningTree
from support.valkey import DURABLE, Valkey, valkey_server
from support.waiting import wait_until

DISPATCHER = "root/dispatcher"
NAME = "dispatcher"  # in the store
DRAIN_S = 10.0
OFTEN = Intensity(1000, 10.0)


class SmallTree:
    """Made by ``small_tree``."""

    def __init__(self, server: Valkey, mode: Mode, workers: int, slots: int, place: Path) -> None:
        self.server = server
        self.place = place  # for small files; sockets too, so its path is short
        self.endpoint = f"ipc://{place}/socket"
        self.slots = workers * slots
        self._trap = place / "trap"
        self._kills_before = 0
        arguments = DispatcherArguments(server.url, self.endpoint, mode, NAME, drain_s=DRAIN_S)
        dispatcher = child(
            "dispatcher",
            Dispatcher,
            arguments,
            environment={crashpoint.VARIABLE: str(self._trap)},
            shutdown_s=DRAIN_S + 2,
        )
        worker = child("worker", Worker, WorkerArguments(self.endpoint, mode, slots), shutdown_s=DRAIN_S + 2)
        pool = SupervisorSpec(pool=worker, size=workers, intensity=OFTEN)
        self.tree = RunningTree(SupervisorSpec((dispatcher, branch("workers", pool)), intensity=OFTEN))

    # -- tasks

    def register(self, function: Callable[..., Any]) -> FunctionId:
        """A function, by value."""
        return register(self.server.url, by_value(function))

    def submit(self, function: FunctionId, *calls: tuple[Any, ...], delay_s: float | None = None) -> list[TaskId]:
        """One task per tuple of arguments."""
        return submit(self.server.url, function, *(call(*arguments) for arguments in calls), delay_s=delay_s)

    def ended(self, ids: list[TaskId], within: float) -> list[TaskRecord]:
        """Their records, once all have ended."""

        def all_over() -> list[TaskRecord]:
            records = read(self.server.url, *ids)
            return records if all(record.status in (State.COMPLETED, State.FAILED) for record in records) else []

        return wait_until(all_over, within, f"{len(ids)} tasks have ended", every=0.03)

    def values(self, ids: list[TaskId], within: float) -> list[Any]:
        """What they returned; all must COMPLETE."""
        records = self.ended(ids, within)
        assert [record.status for record in records] == [State.COMPLETED] * len(ids), records
        return [dill.loads(record.value) for record in records if record.value is not None]

    def counter(self, name: str) -> int:
        """One of the store's counters."""
        with self.server.client() as client:
            return int(client.hget("{regrow}:counters", name) or 0)

    # -- the dispatcher's crashes

    def arm(self, point: str, passes: int = 1) -> None:
        """Let the dispatcher die when it next comes by this point."""
        self._kills_before = len(self._kills())
        crashpoint.fired_file(self._trap).unlink(missing_ok=True)
        crashpoint.arm(self._trap, point, passes)

    def fired(self) -> str:
        """Where the dispatcher died; "" as long as it has not."""
        file = crashpoint.fired_file(self._trap)
        return file.read_text() if file.exists() else ""

    def died(self, point: str, within: float) -> float:
        """Wait until the dispatcher has died there, by the trap's word and by the root's; when (monotonic seconds)."""
        word, _, pid = wait_until(self.fired, within, f"the dispatcher comes by {point}").partition(" ")
        at = time.monotonic() - (time.time() - crashpoint.fired_file(self._trap).stat().st_mtime)
        assert word == point
        wait_until(lambda: not is_alive(int(pid)), within, f"the dispatcher is dead after {point}")
        wait_until(lambda: len(self._kills()) > self._kills_before, within, f"the root knows of it after {point}")
        return at

    def _kills(self) -> list[ExitReason]:
        return [reason for reason in self.tree.downs(DISPATCHER) if str(reason) == "signal:SIGKILL"]

    def pid(self) -> int:
        """The dispatcher's, once it runs."""
        return self.tree.wait_running(DISPATCHER, within=20).pid or 0

    def signal(self, number: int) -> int:
        """Signal the dispatcher; its pid."""
        pid = self.pid()
        os.kill(pid, number)
        return pid


@contextmanager
def small_tree(directory: Path, mode: Mode, workers: int = 2, slots: int = 2) -> Iterator[SmallTree]:
    """A running one, on a store of its own in ``directory``."""
    with (
        valkey_server(directory, **DURABLE) as server,
        tempfile.TemporaryDirectory(prefix="small-") as place,
    ):
        small = SmallTree(server, mode, workers, slots, Path(place))
        with small.tree:
            yield small
