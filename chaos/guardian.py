"""Shell: a process that undoes faults when the one that made them cannot: ``python -m regrow.chaos.guardian [JOURNAL]``.

It is told of every fault's undos, and says that it has them, before the fault is made.  It runs them when it is told to, when
their time is over, and at once when its standard input ends: whatever ends the chaos process ends that too.

::

    chaos process ──Hold, Start, Release, Undo──▶ guardian        JSON, one a line; each is answered by one Said
                  ◀────────────Said──────────────                 stdin ends: all that is held is undone, the last first

It is in a session of its own and ignores what a terminal sends, so Ctrl-C does not reach it, nor a kill of the chaos process's
group. Whoever stops it (SIGSTOP) does not stop it for long: the chaos process lets it go on while it waits for it, and so does the
kernel when the chaos process ends. What it has undone by itself it writes into the journal.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Self

import msgspec

from regrow.chaos import undo
from regrow.runtime.errors import RegrowError

ANSWER_S: Final = 30.0  # an undo may wait for a store that starts
WAKE_S: Final = 0.5  # between two times that it is let go on, while it is waited for
PR_SET_PDEATHSIG: Final = 1
SILENT: Final = "the process that undoes faults does not answer; no fault is made without it"


class Hold(msgspec.Struct, frozen=True, tag="hold"):
    """Keep these."""

    number: int
    undos: tuple[undo.Undo, ...]


class Start(msgspec.Struct, frozen=True, tag="start"):
    """The fault was made: undo it after so long, if nobody has by then."""

    number: int
    for_s: float


class Release(msgspec.Struct, frozen=True, tag="release"):
    """It was undone, or never made."""

    number: int


class Undo(msgspec.Struct, frozen=True, tag="undo"):
    """Now."""

    number: int


class Said(msgspec.Struct, frozen=True):
    """The answer: a line for each undo that was run. ``problem``: why one could not; then it is still held."""

    said: tuple[str, ...] = ()
    problem: str = ""


Order = Hold | Start | Release | Undo


class GuardianLost(RegrowError):
    """Without a guardian no fault is made."""

    code = "guardian_lost"


class Guardian:
    """The chaos process's hand on its guardian.  Leaving the block ends it, and undoes what is still held."""

    def __init__(self, journal: Path | None = None) -> None:
        """Start it."""
        words = [sys.executable, "-P", "-m", "regrow.chaos.guardian", *([str(journal)] if journal else [])]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self.pid = self._process.pid
        self._is_lost = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hold(self, number: int, undos: Iterable[undo.Undo]) -> None:
        """When this returns, they will be run whatever happens here.  Raises GuardianLost."""
        self._ask(Hold(number, tuple(undos)))

    def start(self, number: int, for_s: float) -> None:
        """Its time begins now."""
        self._ask(Start(number, for_s))

    def release(self, number: int) -> None:
        """Forget them."""
        self._ask(Release(number))

    def undo(self, number: int) -> tuple[str, ...]:
        """Run them now; what each says.  Raises UndoFailed; then they are still held."""
        answer = self._ask(Undo(number))
        if answer.problem:
            raise undo.UndoFailed(answer.problem)
        return answer.said

    def close(self) -> None:
        """End it.  May be called twice."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it was killed
            self._process.stdin.close()
        while self._process.poll() is None:
            self._wake()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(WAKE_S)
        self._process.stdout.close()

    def _ask(self, order: Order) -> Said:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._is_lost:
            raise GuardianLost(SILENT)
        try:
            self._wake()
            self._process.stdin.write(msgspec.json.encode(order) + b"\n")
            self._process.stdin.flush()
            if self._has_said(self._process.stdout):
                return msgspec.json.decode(self._process.stdout.readline(), type=Said)
        except (BrokenPipeError, msgspec.DecodeError):
            pass
        self._is_lost = True  # an answer that came now would be taken for that to a later order
        raise GuardianLost(SILENT)

    def _wake(self) -> None:
        """It may have been stopped, and nobody else lets it go on."""
        self._process.send_signal(signal.SIGCONT)

    def _has_said(self, stdout: IO[bytes]) -> bool:
        deadline = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline:
            if select.select([stdout], [], [], WAKE_S)[0]:
                return True
            self._wake()
        return False


class Watch:
    """The guardian's own side: what it holds, and until when."""

    def __init__(self, journal: Path | None) -> None:
        self._journal = journal
        self._held: dict[int, tuple[undo.Undo, ...]] = {}
        self._due: dict[int, float] = {}

    def take(self, order: Order) -> Said:
        """Do what it says."""
        match order:
            case Hold(number, undos):
                self._held[number] = undos
            case Start(number, for_s):
                self._due[number] = time.monotonic() + for_s
            case Release(number):
                self._forget(number)
            case Undo(number):
                return self._undo(number)
        return Said()

    def wait_s(self) -> float | None:
        """Until the next is over; None: for ever."""
        due = min(self._due.values(), default=None)
        return None if due is None else max(0.0, due - time.monotonic())

    def undo_due(self) -> None:
        """Those whose time is over and that nobody has undone."""
        now = time.monotonic()
        for number in [number for number, due in self._due.items() if due <= now]:
            del self._due[number]
            self._undo_alone(number)

    def undo_all(self) -> None:
        """There is nobody left to do it."""
        for number in reversed(list(self._held)):
            self._undo_alone(number)

    def _undo(self, number: int) -> Said:
        said, problems = undo.run(self._held.get(number, ()))
        if problems:
            return Said(said, "; ".join(problems))
        self._forget(number)
        return Said(said)

    def _undo_alone(self, number: int) -> None:
        answer = self._undo(number)
        if self._journal is not None:
            from regrow.chaos.journal import Journal, Note, Undone

            now = time.monotonic()
            with Journal(self._journal) as journal:
                if answer.problem:
                    journal.write(Note(f"intent {number} could not be undone: {answer.problem}", now))
                else:
                    journal.write(Undone(number, "guardian", answer.said, now))

    def _forget(self, number: int) -> None:
        self._held.pop(number, None)
        self._due.pop(number, None)


def main() -> None:
    """Take orders until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(
        PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGCONT), 0, 0, 0
    )  # if it is stopped when the pipe ends
    watch = Watch(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    decode = msgspec.json.Decoder(Order).decode
    rest = b""
    while True:
        if not select.select([0], [], [], watch.wait_s())[0]:
            watch.undo_due()
            continue
        piece = os.read(0, 65536)
        if not piece:
            break
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            answer = msgspec.json.encode(watch.take(decode(line))) + b"\n"
            with suppress(BrokenPipeError):  # who asked has ended meanwhile: so will standard input
                os.write(1, answer)
    watch.undo_all()


if __name__ == "__main__":
    main()
