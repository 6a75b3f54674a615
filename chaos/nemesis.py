"""Shell: picks a victim in a live tree, by role and seed, and does a fault to it.

Only processes of the given tree are ever touched. A victim is resolved to (pid, start time); the signal goes through a
pidfd that was opened before the start time was checked again, so it cannot hit a later process with the same number.
A freeze is undone whatever happens: the SIGCONT is armed before the SIGSTOP is sent, in a process of its own, and
``teardown`` sends it early.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from regrow.chaos.fault import Fault, Freeze, Injection, Kill, Victim
from regrow.chaos.tree import TreeUnreadable
from regrow.runtime.errors import ConfigError, RegrowError
from regrow.runtime.spec import ChildState
from regrow.runtime.tree import TreeNode

ReadTree = Callable[[], TreeNode]
LOOK_AGAIN_S = 0.005  # between two looks at the tree while a recovery is timed
LONGEST_FREEZE_S = 24 * 3600.0


class NoVictim(RegrowError):
    """There is nobody to do it to."""

    code = "no_victim"


class NotRecovered(RegrowError):
    """The tree was not whole again in time."""

    code = "not_recovered"


class Nemesis:
    """Does faults to the actors of one tree, and undoes what it did.  The same seed on the same trees picks the same victims."""

    def __init__(self, read_tree: ReadTree, seed: int = 0) -> None:
        self._read_tree = read_tree
        self._random = random.Random(seed)
        self._thaws: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.teardown()

    def invoke(self, fault: Fault, role: str, name: str = "") -> Injection:
        """Do ``fault`` to a random running actor of ``role`` (or to the one called ``name``).

        Raises NoVictim, and ConfigError for a freeze of no or endless length.
        """
        if isinstance(fault, Freeze) and not 0 < fault.for_s <= LONGEST_FREEZE_S:
            raise ConfigError(
                f"a freeze of {fault.for_s:g} s: use more than 0 and at most {LONGEST_FREEZE_S:g} seconds"
            )
        victim = self.pick(role, name)
        pidfd = os.pidfd_open(victim.pid)
        try:
            if start_time(victim.pid) != victim.started_at:
                raise NoVictim(f"{victim.path} ended before it could be hit")
            if isinstance(fault, Freeze):
                self._thaws.append(_arm_thaw(pidfd, fault.for_s))
            at = time.monotonic()
            signal.pidfd_send_signal(pidfd, signal.SIGKILL if isinstance(fault, Kill) else signal.SIGSTOP)
            if isinstance(fault, Freeze):
                _start_thaw(self._thaws[-1])
        except ProcessLookupError:
            raise NoVictim(f"{victim.path} ended before it could be hit") from None
        finally:
            os.close(pidfd)
        return Injection(fault, victim, at)

    def pick(self, role: str, name: str = "") -> Victim:
        """A running actor of ``role``, chosen by the seed among those in the tree, in the order of their paths."""
        nodes = sorted((node for node in self._read_tree().walk() if node.role == role), key=lambda node: node.path)
        running = [node for node in nodes if node.pid and node.state is ChildState.RUNNING]
        found = [node for node in running if not name or name in (node.name, node.path)]
        if not found:
            there = ", ".join(node.name for node in nodes) or "none"
            raise NoVictim(f"no running {role}{f' called {name}' if name else ''} in the tree (of this role: {there})")
        node = self._random.choice(found)
        pid = node.pid or 0
        return Victim(node.path, node.role, pid, node.incarnation, start_time(pid))

    def recovery_s(self, injection: Injection, within_s: float) -> float:
        """Seconds from the fault until another process runs in the victim's place.  Raises NotRecovered."""
        while time.monotonic() < injection.at + within_s:
            if self._is_replaced(injection.victim):
                return time.monotonic() - injection.at
            time.sleep(LOOK_AGAIN_S)
        raise NotRecovered(f"{injection.victim.path} was not running again {within_s} s after the fault")

    def _is_replaced(self, victim: Victim) -> bool:
        try:
            node = self._read_tree().find(victim.path)
        except TreeUnreadable:
            return False  # the victim may be what answers for the tree
        return node is not None and node.pid not in (None, victim.pid) and node.state is ChildState.RUNNING

    def teardown(self) -> None:
        """Let every frozen process go on, now."""
        for thaw in self._thaws:
            if thaw.stdin:
                thaw.stdin.close()
            thaw.wait()
        self._thaws.clear()


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot (field 22 of proc(5) stat).  Raises NoVictim if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise NoVictim(f"process {pid} is gone") from None
    return int(text.rpartition(")")[2].split()[19])


# Waits for one byte (the victim is stopped), then until the time is over, and thaws; at once when its standard input
# ends (the nemesis closed it, or died).  Without the byte, a short time could be over before the victim is stopped.
_THAW = """
import os, select, signal, sys
try:
    if os.read(0, 1):
        select.select([0], [], [], float(sys.argv[2]))
finally:
    signal.pidfd_send_signal(int(sys.argv[1]), signal.SIGCONT)
"""


def _arm_thaw(pidfd: int, after_s: float) -> subprocess.Popen[bytes]:
    """A process that sends SIGCONT ``after_s`` seconds after its start, or when this process ends or closes its input."""
    command = [sys.executable, "-ISc", _THAW, str(pidfd), str(after_s)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=(pidfd,), start_new_session=True
    )


def _start_thaw(thaw: subprocess.Popen[bytes]) -> None:
    """Its time begins now."""
    assert thaw.stdin is not None
    thaw.stdin.write(b".")
    thaw.stdin.flush()
