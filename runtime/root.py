"""Shell: the root of a tree: the supervisor that runs in the launched process.

It owns the tree's private run directory, kills and reaps descendants whose parents have died, and turns the end of the
tree into an exit code. Everything below dies with it, also by SIGKILL, but for what user code has detached: that ends when
the root is given it (see ``process``), and so not when the root is killed itself.
"""

import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from regrow.runtime import events, process
from regrow.runtime.actor import Context
from regrow.runtime.errors import ConfigError
from regrow.runtime.events import Event
from regrow.runtime.host import Host, alone, exit_code
from regrow.runtime.spec import ChildState, ExitReason, SupervisorSpec, validate_supervisor
from regrow.runtime.stimuli import Announce, gave_up
from regrow.runtime.supervisor import Supervisor
from regrow.runtime.tree import TreeEvent, TreeEventKind, TreeNode

MAX_SOCKET_PATH: Final = 107  # bytes, of Linux
SOCKET_NAME_BYTES: Final = 40  # room for the names of sockets in the run directory
ORPHANS_S: Final = 5.0  # how long the end of detached processes may take

OnEvent = Callable[[TreeEvent], None]


class Root(Supervisor):
    """The supervisor at the top."""

    role = "root"
    is_root = True
    signals = (signal.SIGCHLD,)
    on_event: OnEvent | None = None

    def __init__(self, arguments: SupervisorSpec, context: Context) -> None:
        super().__init__(arguments, context)
        process.become_subreaper()
        self._strangers = frozenset(process.children())  # of this program, from before the tree
        self._killed: set[int] = set()  # orphans whose end is on its way

    def on_stop(self, grace_s: float | None) -> None:
        """Tell the program, then stop the children in order."""
        self._tell(TreeEventKind.STOPPING)
        super().on_stop(grace_s)

    def on_end(self) -> None:
        """When our own children are gone, whoever is left below us had been detached from the tree."""
        super().on_end()
        for pid in set(process.end_orphans(self._strangers, ORPHANS_S)) - self._killed:
            events.say("warning", Event.ORPHAN_KILLED, orphan_pid=pid)

    def on_signal(self, number: int) -> None:  # noqa: ARG002 (SIGCHLD, the only one)
        """Some child has ended: our own are seen by their pidfds; all others were left by the dead, and die as well."""
        known = self._strangers | {life.process.pid for life in self._lives.values()}
        killed, reaped = process.kill_orphans(known)
        for pid in killed - self._killed:
            events.say("warning", Event.ORPHAN_KILLED, orphan_pid=pid)
        self._killed = killed
        for pid in reaped:
            events.say("debug", Event.ORPHAN_REAPED, orphan_pid=pid)

    def started(self) -> None:
        """All initial children are ready."""
        super().started()
        self._tell(TreeEventKind.STARTED)

    def announce(self, change: Announce) -> None:
        """Tell the program too when a child comes or goes."""
        super().announce(change)
        path = f"{self.context.path}/{change.child}"
        life = self._lives.get(change.child)
        if change.reason is not None:
            self._tell(TreeEventKind.CHILD_DOWN, path, reason=change.reason)
        elif change.state is ChildState.RUNNING and life is not None:
            self._tell(TreeEventKind.CHILD_UP, path, pid=life.process.pid)

    def show(self, picture: TreeNode) -> None:
        """There is nobody above to show it to but the program."""
        self._tell(TreeEventKind.CHANGED, tree=picture)

    def _tell(
        self,
        kind: TreeEventKind,
        path: str = "",
        *,
        pid: int | None = None,
        reason: ExitReason | None = None,
        tree: TreeNode | None = None,
    ) -> None:
        if self.on_event is not None:
            self.on_event(TreeEvent(kind, path or self.context.path, tree or self.picture(), pid, reason))


def run_root(
    spec: SupervisorSpec,
    name: str = "root",
    on_event: OnEvent | None = None,
    run_directory: Path | None = None,
) -> int:
    """Run a tree in this process until it is asked to stop (SIGTERM, SIGINT) or gives up; the exit code.

    0 after an orderly stop, 1 when it gave up or could not start: then a crash report is on standard error. A second
    SIGINT kills everything at once. ``on_event`` is called from this thread and must not block. ``run_directory``
    becomes the tree's own and is removed at the end.  Main thread only.  Raises ConfigError for a spec that
    contradicts itself.
    """
    validate_supervisor(spec)
    directory = _claim(run_directory)
    events.identify(name, 1, events.level())
    try:
        reason = _run(spec, name, on_event, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    events.say("info", Event.TREE_STOPPED, reason=str(reason))
    if reason.is_normal and not gave_up(reason):
        return exit_code(reason)
    sys.stderr.write(crash_report(name, reason))
    return 1


def _claim(run_directory: Path | None) -> Path:
    """The private directory for the tree's sockets.  Raises ConfigError if socket paths in it would be too long."""
    if run_directory is None:
        return Path(tempfile.mkdtemp(prefix="regrow-"))
    if len(os.fsencode(run_directory)) + SOCKET_NAME_BYTES > MAX_SOCKET_PATH:
        raise ConfigError(f"run directory {run_directory}: its path is too long for sockets; choose a shorter one")
    run_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    run_directory.chmod(0o700)
    return run_directory


def _run(spec: SupervisorSpec, name: str, on_event: OnEvent | None, directory: Path) -> ExitReason:
    start = msgspec.structs.replace(alone(name, spec, str(directory)), tree=secrets.token_hex(8))

    class Launched(Root):
        """The root of this program."""

    Launched.on_event = staticmethod(on_event) if on_event is not None else None
    reason = Host(Launched, start, None).run()
    if on_event is not None:
        node = TreeNode(name, name, Root.role, os.getpid(), ChildState.EXITED, 1, 0)
        on_event(TreeEvent(TreeEventKind.FINISHED, name, node, os.getpid(), reason))
    return reason


def crash_report(name: str, reason: ExitReason) -> str:
    """Why the tree ended, for a person: the first line says it, the indented ones tell the story."""
    story = "".join(f"    {line}\n" for line in reason.note.splitlines())
    return f"regrow: {name} gave up ({reason})\n{story}"
