"""Shell: starting, signalling and reaping child processes; fate sharing; how a class travels to another process.

Invariants
    A child is leader of a session and process group of its own, inherits no descriptor but those named, and reads
    nothing from standard input.  Its class and arguments travel in a memory file, its last words come back through a
    pipe that only it writes: neither side ever waits for the other, and nothing shared can be left locked by a kill.
    A child dies with its parent: the kernel kills it (PR_SET_PDEATHSIG), and the child compares its parent's pid
    after it has asked for that, which closes the gap in between.  The kernel binds this to the *thread* that started
    the child, so children are started from the main thread only. A process group is killed while its leader is still
    a zombie: its number cannot have been given to anyone else.

Limits
    A child that is stopped (SIGSTOP) before it could ask to die with its parent outlives a parent that is killed
    meanwhile, until somebody lets it go on: then it sees at once that its parent is another.
    A process that has lost its parent becomes a child of the nearest subreaper above it: of an actor that has asked to be
    one, else of the root. The root kills what it is given so, as soon as any of its children ends, and at the latest with
    the tree. Nothing does that for a root that is killed itself: what user code had detached by then lives on.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from regrow.runtime.spec import ChildSpec, ExitReason, ReasonKind

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
LAST_WORDS_BYTES: Final = 32 * 1024  # fits into an empty pipe, so that writing them never waits


class Start(msgspec.Struct, frozen=True):
    """All that a new actor process is told."""

    actor: str
    arguments: bytes
    path: str
    incarnation: int
    tree: str
    run_directory: str
    link: str  # address of the supervisor's Router
    beat_s: float | None  # interval between beats
    grace_s: float | None  # how long a stop may take
    log_level: str
    import_path: tuple[str, ...]


def link_identity(name: str, incarnation: int, pid: int) -> bytes:
    """By what the supervisor's Router knows one life of a child."""
    return f"{name}:{incarnation}:{pid}".encode()


class Process:
    """One started child. ``pidfd`` turns readable when it has ended; then ``reap`` it."""

    def __init__(self, start: Start, environment: Mapping[str, str], fds: tuple[int, ...]) -> None:
        """Start it.  Raises OSError when the system cannot."""
        assert threading.current_thread() is threading.main_thread(), "children die with the thread that started them"
        order = _memory_file(msgspec.msgpack.encode(start))
        self._words, words = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        command = [sys.executable, "-P", "-m", "regrow.runtime.boot", str(os.getpid()), str(order), str(words)]
        try:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
                pass_fds=(order, words, *fds),
                start_new_session=True,
            )
        except OSError:
            os.close(self._words)
            raise
        finally:
            os.close(order)
            os.close(words)
        self.pid: int = self._popen.pid
        self.pidfd: int = os.pidfd_open(self.pid)

    def signal(self, number: int) -> None:
        """Send a signal to the process alone; one that has ended takes no harm."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def kill_group(self) -> None:
        """SIGKILL to it and to all that it started in its process group; before it is reaped."""
        kill_group(self.pid)

    def reap(self) -> ExitReason:
        """Wait for its end, kill what is left in its group, and tell why it ended."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self.kill_group()
        code = self._popen.wait()
        last_words = _read_available(self._words)
        os.close(self._words)
        os.close(self.pidfd)
        return exit_reason(code, last_words)


def _memory_file(content: bytes) -> int:
    """A descriptor from which ``content`` can be read from the start."""
    descriptor = os.memfd_create("regrow", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _read_available(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 2 * LAST_WORDS_BYTES)
    except BlockingIOError:
        return b""


def exit_reason(code: int, last_words: bytes) -> ExitReason:
    """Why a process ended: what it said itself, else what the kernel says (``code`` as subprocess has it)."""
    if code < 0:
        return ExitReason(ReasonKind.SIGNAL, _signal_name(-code))
    if last_words:
        with suppress(msgspec.MsgspecError):
            return msgspec.msgpack.decode(last_words, type=ExitReason)
    if code == 0:
        return ExitReason(ReasonKind.NORMAL)
    return ExitReason(ReasonKind.EXIT, str(code))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def write_last_words(descriptor: int, reason: ExitReason) -> None:
    """Leave the reason of one's end for the supervisor; a note too long loses its beginning, not its last lines."""
    short = msgspec.structs.replace(reason, note=reason.note[-LAST_WORDS_BYTES // 8 :], detail=reason.detail[:1000])
    with suppress(BlockingIOError, BrokenPipeError):
        os.write(descriptor, msgspec.msgpack.encode(short))


def kill_group(leader: int) -> None:
    """SIGKILL to a process group of ours, if there is still anybody in it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; end it now if ``parent`` is its parent no more."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def become_subreaper() -> None:
    """Descendants whose parent has died become children of this process."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def orphans(known: frozenset[int]) -> list[int]:
    """Adopted descendants: children that are neither ``known`` nor in this process's own session.

    One in our own session was started by other code of this process, which waits for it itself.
    """
    return [pid for pid in children() if pid not in known and _session(pid) not in (os.getsid(0), None)]


def kill_orphans(known: frozenset[int]) -> tuple[set[int], list[int]]:
    """SIGKILL to all orphans (see ``orphans``), and reap those that have ended; the pids of both. Waits for nothing.

    The end of a killed one is a SIGCHLD, and may make its own children orphans: then this is to be called again.
    """
    killed, reaped = set(), []
    for pid in orphans(known):
        if _stat(pid)[:1] != ["Z"]:
            _kill(pid)
            killed.add(pid)
        elif reap(pid):
            reaped.append(pid)
    return killed, reaped


def end_orphans(known: frozenset[int], within_s: float) -> list[int]:
    """SIGKILL to all orphans, and to those whom their deaths make orphans, and reap them; their pids.

    Gives up after ``within_s`` seconds: no process can be made to end that hangs in the kernel.
    """
    return _end_all(lambda: orphans(known), within_s)


def end_children(within_s: float) -> bool:
    """SIGKILL to all children, and, where this process is a subreaper, to all that they leave; False if some do not end.

    Cheap when there are none.
    """
    if has_children():
        _end_all(children, within_s)
        return not has_children()
    return True


def has_children() -> bool:
    """Are there any, alive or not yet reaped?"""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _end_all(chosen: Callable[[], list[int]], within_s: float) -> list[int]:
    ended: list[int] = []
    deadline = time.monotonic() + within_s
    while pids := chosen():
        for pid in pids:
            _kill(pid)
        for pid in pids:
            if not _reap_by(pid, deadline):
                return ended
            ended.append(pid)
    return ended


def _kill(pid: int) -> None:
    """SIGKILL to a child that nobody has reaped: the number is still its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def reap(pid: int) -> bool:
    """Reap a child if it has ended, with what is left in its process group if it was the leader of one."""
    with suppress(ChildProcessError):
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            kill_group(pid)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
            return True
    return False


def _reap_by(pid: int, deadline: float) -> bool:
    """Reap the child; False if it has not ended at ``deadline``."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    try:
        if not poll.poll(1000 * max(0.0, deadline - time.monotonic())):
            return False
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        return True
    finally:
        os.close(pidfd)


def children() -> list[int]:
    """The children of this process, also those that have ended and are not reaped."""
    lists = [task.joinpath("children").read_text() for task in Path("/proc/self/task").iterdir()]
    return [int(child) for children in lists for child in children.split()]


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _session(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[3]) if fields else None


def start_child(spec: ChildSpec, start: Start) -> Process:
    """A new life of the child of this spec.  Raises OSError when the system cannot."""
    return Process(start, spec.environment, spec.fds)
