"""``regrow chaos run`` on a terminal: a live view while it goes on, and at the end nothing of it but the verdict."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.command import environment
from support.screen import Screen
from support.waiting import wait_until

ENDS_S = 100.0  # generous: a loaded two-core machine
EXPERIMENT = """
version: 1
title: Five seconds
configuration: {workers: 1, slots: 1}
workload: {rate: 10, duration: 5s}
steady-state-hypothesis:
  strategy: continuous
  probes:
    - {name: ready, type: http, url: "{gateway}/readyz", tolerance: 200}
method:
  - {fault: stop, target: {role: slot}, at: 1s, for: 1s}
settle: 30s
"""


class Terminal:
    """With one program in it."""

    def __init__(self, *command: str) -> None:
        self._written = b""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        variables = {name: value for name, value in environment().items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**variables, "TERM": "xterm", "PYTHONUTF8": "1"},
        )  # fmt: skip
        os.close(theirs)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):  # EIO: nobody has it open any more
            while piece := os.read(self._ours, 1 << 16):
                self._written += piece

    @property
    def raw(self) -> str:
        """All that was written so far, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self._written.decode(errors="ignore"))

    def screen(self) -> Screen:
        """When it has ended."""
        self._reader.join(10)
        return Screen(self.raw)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(10)
        os.close(self._ours)


@contextmanager
def running(folder: Path) -> Iterator[Terminal]:
    """The experiment."""
    file = folder / "experiment.yaml"
    file.write_text(EXPERIMENT)
    words = ("chaos", "run", str(file), "--out", str(folder / "run"), "--no-baseline")
    terminal = Terminal(sys.executable, "-m", "regrow.runtime.cli", *words)
    try:
        yield terminal
    finally:
        terminal.close()


def test_the_view_is_there_while_it_runs_and_the_verdict_is_the_last_thing(tmp_path: Path) -> None:
    with running(tmp_path) as terminal:
        code = terminal.process.wait(ENDS_S)
        screen = terminal.screen()

    assert code in (0, 2), screen.text
    for shown in (
        "start: a tree comes up",
        "method: workload and faults",
        "ready ok (200)",
        "stop root/",
        "undone after",
    ):
        assert shown in terminal.raw
    lines = screen.text.splitlines()
    assert lines[0] in ("valid", "unknown")
    assert lines[-1].startswith(f"report: {tmp_path / 'run' / 'report.html'}")
    assert "Five seconds" not in screen.text
    assert screen.is_cursor_shown


def test_after_an_interruption_the_terminal_is_as_it_was(tmp_path: Path) -> None:
    with running(tmp_path) as terminal:
        wait_until(lambda: "method: workload" in terminal.raw, ENDS_S, "the method has begun")
        os.killpg(terminal.process.pid, signal.SIGINT)
        code = terminal.process.wait(ENDS_S)
        screen = terminal.screen()

    assert code == 3
    assert "broken off: interrupted by SIGINT" in screen.text
    assert "Five seconds" not in screen.text
    assert screen.is_cursor_shown
