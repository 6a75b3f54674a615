"""Trees in a process of their own, and a hand on them.

``python -m support.trees SPEC RUN_DIRECTORY EVENTS`` is the program; RunningTree starts and asks it.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import msgspec

from regrow.runtime import events
from regrow.runtime.errors import ActorError
from regrow.runtime.guest import Guest
from regrow.runtime.root import run_root
from regrow.runtime.spec import ExitReason, SupervisorSpec
from regrow.runtime.tree import Tree, TreeEvent, TreeNode
from support.actors import Ask, Told
from support.waiting import wait_until


class Line(msgspec.Struct):
    """One event of a tree, with the time at which the root told it."""

    at: float
    kind: str
    path: str
    pid: int | None
    reason: ExitReason | None
    restarts: dict[str, int]


class RunningTree:
    """A tree that runs ``spec`` beside the test, as a context manager that leaves nothing of it."""

    def __init__(self, spec: SupervisorSpec) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="regrow-"))
        self._files = Path(tempfile.mkdtemp(prefix="tree-"))
        self._events = self._files / "events"
        self._errors = self._files / "errors"
        (self._files / "spec").write_bytes(msgspec.msgpack.encode(spec))
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "support.trees", self._files / "spec", self.directory, self._events],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stderr=errors,
            )
        self._guest: Guest | None = None

    def __enter__(self) -> Self:
        wait_until(self.is_started, 20, "the tree has started")
        return self

    def is_started(self) -> bool:
        assert self.process.poll() is None, f"the tree ended: {self.errors()}"
        return any(line.kind == "started" for line in self.events())

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is left of it; twice does no harm."""
        if self._guest is not None:
            self._guest.close()
            self._guest = None
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(self._files, ignore_errors=True)

    def stop(self, within: float = 10) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)

    def errors(self) -> str:
        """Its standard error so far."""
        return self._errors.read_text()

    def events(self) -> list[Line]:
        """Its events so far."""
        if not self._events.exists():
            return []
        lines = self._events.read_bytes().split(b"\n")
        return [msgspec.json.decode(line, type=Line) for line in lines[:-1]]

    def downs(self, path: str) -> list[ExitReason]:
        """The ends of a direct child of the root."""
        return [
            line.reason for line in self.events() if line.kind == "child_down" and line.path == path and line.reason
        ]

    def call(self, path: str, message: msgspec.Struct, reply_type: Any = Any, timeout_s: float = 10.0) -> Any:
        """A call from outside."""
        if self._guest is None:
            self._guest = Guest(self.directory)
        return self._guest.call(path, message, timeout_s, reply_type)

    def ask(self, path: str, text: str = "") -> Told:
        """What a puppet has seen."""
        return self.call(path, Ask(text), Told)

    def tree(self) -> TreeNode:
        """Its picture."""
        return self.call("root", Tree(), TreeNode)

    def node(self, path: str) -> TreeNode:
        """One node of its picture."""
        node = self.tree().find(path)
        assert node is not None, f"{path} is not in the tree"
        return node

    def pid(self, path: str) -> int:
        """Of an actor that runs."""
        pid = self.node(path).pid
        assert pid is not None, f"{path} has no process"
        return pid

    def kill(self, path: str, number: int = signal.SIGKILL) -> int:
        """Signal an actor's process; its pid."""
        pid = self.pid(path)
        os.kill(pid, number)
        return pid

    def wait_running(self, path: str, incarnation: int = 1, within: float = 10) -> TreeNode:
        """The node of that actor once it runs in that incarnation or a later one."""

        def probe() -> TreeNode | None:
            try:
                node = self.tree().find(path)
            except ActorError:
                return None
            return node if node and node.state == "running" and node.incarnation >= incarnation else None

        return wait_until(probe, within, f"{path} runs in incarnation {incarnation}")


def main() -> int:
    """Run the tree."""
    spec = msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=SupervisorSpec)
    events.identify("root", 1, "info")
    with Path(sys.argv[3]).open("ab", buffering=0) as file:

        def write(event: TreeEvent) -> None:
            restarts = {node.path: node.restarts for node in event.tree.walk()}
            line = Line(time.monotonic(), event.kind.value, event.path, event.pid, event.reason, restarts)
            file.write(msgspec.json.encode(line) + b"\n")

        return run_root(spec, on_event=write, run_directory=Path(sys.argv[2]))


if __name__ == "__main__":
    sys.exit(main())
