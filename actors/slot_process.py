"""Shell: one life of one slot, as its worker holds it: the process, its socket, and what it prints.

The process is leader of its own session, inherits no descriptor but its socket, and gets an environment of named
variables only. Its worker keeps a duplicate of the slot's end of the socket, to steal unread calls back. Nothing here
waits for the slot.

What it prints is told apart by turn (see ``output``). For a turn that ended with a mark, the mark is in the pipe before the
answer is in the socket, so ``answers`` reads on until it has it. Otherwise nothing of the turn was unread at its end, and
what is read later is another turn's: so ``lines`` reads only what ``note_output`` has seen before answers were read.
"""

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from regrow.actors import packets, pipe
from regrow.actors.effects import Death
from regrow.actors.nest import clear
from regrow.actors.output import NOTHING_PRINTED, Output, Printed
from regrow.runtime.errors import ProtocolError
from regrow.runtime.process import kill_group

ANSWERS: Final = 256  # packets taken per round and slot, at most, so that the others get their turn
OUTPUT_BYTES: Final = 64 * 1024  # read per round and slot, at most
KEPT_VARIABLES: Final = frozenset(("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR")) | {
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
}
KEPT_PREFIXES: Final = ("LC_", "PYTHON", "COVERAGE_")


def clean_environment(environ: Mapping[str, str], import_path: tuple[str, ...]) -> dict[str, str]:
    """What a slot may see of its worker's environment, with the directories that user code may import from in front."""
    kept = {name: value for name, value in environ.items() if name in KEPT_VARIABLES or name.startswith(KEPT_PREFIXES)}
    path = os.pathsep.join([*import_path, *filter(None, [kept.get("PYTHONPATH")])])
    return kept | ({"PYTHONPATH": path} if path else {})


class SlotProcess:
    """A started slot. ``pidfd`` turns readable when it has ended, ``end`` when it has answered, ``printed`` when it has printed."""

    def __init__(self, folder: Path, title: str, max_payload_bytes: int, import_path: tuple[str, ...]) -> None:
        """Start it in ``folder``, which is made, and removed by ``bury``.  Raises OSError when the system cannot."""
        self.folder = folder
        self.max_payload_bytes = max_payload_bytes
        self.is_silent = False  # nothing that could print is left, and ``printed`` is of no use any more
        self.garbage = ""  # why its packets cannot be trusted any more, "" while they can
        self.output = Output()
        self._printed_by: dict[int, Printed] = {}  # turns that have ended, and had printed something
        self._lines: list[str] = []  # to be logged
        self._noted_bytes = 0  # of its output, not read yet
        folder.mkdir(mode=0o700)
        self.end, self._slot_end = pipe.pair()
        self.printed, printing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.printed, False)
        arguments = [str(self._slot_end.fileno()), str(os.getpid()), str(max_payload_bytes), title]
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-m", "regrow.actors.executor", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=printing,
                stderr=subprocess.STDOUT,
                pass_fds=(self._slot_end.fileno(),),
                cwd=folder,
                env=clean_environment(os.environ, import_path),
                start_new_session=True,
                umask=0o077,
            )
        except OSError:
            self._close()
            raise
        finally:
            os.close(printing)
        self.pid = self._popen.pid
        self.pidfd = os.pidfd_open(self.pid)

    def feed(self, number: int, call: packets.Call) -> None:
        """Write one call. The core never feeds more than the socket holds; a dead slot takes it and it is stolen back."""
        self.output.latest = number
        pipe.send(self.end, number, packets.encode(call), socket.MSG_DONTWAIT)

    def answers(self, now: float) -> list[tuple[int, packets.FromSlot]]:
        """What it has said, at most ANSWERS packets; ``garbage`` is set where it said what no slot of ours says.

        ``take_printed`` has what these turns printed. ``now``: monotonic seconds.
        """
        found: list[tuple[int, packets.FromSlot]] = []
        while len(found) < ANSWERS and not self.garbage:
            try:
                packet = pipe.receive(self.end, 4 * self.max_payload_bytes, socket.MSG_DONTWAIT)
                number, body = packet or (0, b"")  # an empty packet is no answer either
                message = packets.decode_from_slot(body)
                is_marked = isinstance(message, packets.Ended) and message.is_marked
                if is_marked or self.output.has_any:
                    self._end_turn(number, is_marked=is_marked, now=now)
                found.append((number, message))
            except BlockingIOError:
                break
            except (ProtocolError, msgspec.MsgspecError, UnicodeDecodeError) as error:
                self.garbage = f"it wrote what is no answer into its socket: {error}"
        return found

    def unread(self) -> list[int]:
        """Steal the calls that it has not read; their numbers."""
        return pipe.steal(self._slot_end)

    def _end_turn(self, number: int, *, is_marked: bool, now: float) -> None:
        while is_marked and self.output.lacks_mark(number) and self._read(OUTPUT_BYTES, now):
            pass
        printed = self.output.end_turn(number)
        if printed is not NOTHING_PRINTED:
            self._printed_by[number] = printed

    def take_printed(self) -> dict[int, Printed]:
        """What the turns have printed whose answers were read since this was last asked."""
        printed, self._printed_by = self._printed_by, {}
        return printed

    def _read(self, most_bytes: int, now: float) -> int:
        """Read what it has printed; how many bytes there were."""
        with suppress(BlockingIOError):
            data = os.read(self.printed, most_bytes)
            self._lines += self.output.feed(data, now)
            self._noted_bytes = max(0, self._noted_bytes - len(data))
            return len(data)
        return 0

    def note_output(self) -> None:
        """See how much of its output there is to read, before answers are read."""
        size = bytearray(4)
        fcntl.ioctl(self.printed, termios.FIONREAD, size)
        self._noted_bytes = int.from_bytes(size, sys.byteorder)

    def falls_silent(self) -> bool:
        """Its output turned readable: is that because all that could print has closed it?  It would stay readable for ever."""
        if not self._noted_bytes:
            poller = select.poll()
            poller.register(self.printed, select.POLLIN)
            self.is_silent = poller.poll(0) == [(self.printed, select.POLLHUP)]
        return self.is_silent

    def lines(self, now: float) -> list[str]:
        """What it had printed when its output was noted last, at most OUTPUT_BYTES of it, as lines to log."""
        if self._noted_bytes:
            self._read(min(self._noted_bytes, OUTPUT_BYTES), now)
            self._noted_bytes = 0
        lines, self._lines = self._lines, []
        return lines

    @property
    def has_printed(self) -> bool:
        """Has any turn printed something whose answer was read since ``take_printed``?"""
        return bool(self._printed_by)

    @property
    def has_lines(self) -> bool:
        """Are there any to log?"""
        return bool(self._lines) or bool(self.output.has_dropped)

    def kill(self) -> None:
        """SIGKILL to its process group, itself included; harmless when it has ended and is not buried yet."""
        kill_group(self.pid)

    def has_ended(self) -> bool:
        """Is there something to bury?"""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def is_stopped(self) -> bool:
        """Has somebody stopped it (SIGSTOP)?"""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def bury(self) -> Death:
        """End what is left of it, and release everything. Waits for the kernel only, when it was killed."""
        self.kill()
        _, status, usage = os.wait4(self.pid, 0)
        self._popen.returncode = code = os.waitstatus_to_exitcode(status)
        self._close()
        os.close(self.pidfd)
        reason = f"exit:{code}" if code >= 0 else f"signal:{_name(-code)}"
        return Death(reason, self.output.tail(), self.output.rest(), usage.ru_maxrss * 1024)

    def _close(self) -> None:
        self.end.close()
        self._slot_end.close()
        os.close(self.printed)
        clear(self.folder)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
