"""Shell: a program that is run for the length of a ``with`` block, and ends with this process whatever happens."""

import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

from regrow.runtime.errors import RegrowError
from regrow.runtime.process import die_with_parent


class ProgramFailed(RegrowError):
    """The program did not do what it was started for."""

    code = "program_failed"


def bare(environ: Mapping[str, str]) -> dict[str, str]:
    """Without what is set there for regrow: a tree of our own must not work on the store or the port of somebody else's."""
    return {name: value for name, value in environ.items() if not name.startswith("REGROW_")}


class Program:
    """One run of a Python module as a program; its standard output is read here, its standard error goes to ``log``."""

    def __init__(
        self, module: str, *words: str, log: Path, variables: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Start it.  ``variables`` are added to its environment, see ``bare``."""
        self._log = log
        self._parent = os.getpid()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env={**bare(os.environ), **variables},
                preexec_fn=self._share_fate,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill it if it runs; may be called twice."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def read_until(self, mark: str, within_s: float) -> str:
        """Its output up to and including the line with ``mark``.  Raises ProgramFailed when it ends or is late."""
        seen = b""
        deadline = time.monotonic() + within_s
        with selectors.DefaultSelector() as selector:
            assert self._process.stdout is not None
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not (mark.encode() in seen and seen.endswith(b"\n")):
                piece = b""
                if selector.select(max(0.0, deadline - time.monotonic())):
                    piece = os.read(self._process.stdout.fileno(), 65536)
                if not piece:
                    raise ProgramFailed(f"it did not come up within {within_s:g} s; its log: {self.keep_log()}")
                seen += piece
        return seen.decode()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Is it over?"""
        return self._process.poll() is not None

    def stop(self, within_s: float) -> int:
        """Ask it to end; its exit code.  Raises ProgramFailed when it is late."""
        if not self.ends(within_s):
            raise ProgramFailed(f"it did not stop within {within_s:g} s; its log: {self.keep_log()}")
        return self._process.wait()

    def ends(self, within_s: float) -> bool:
        """Ask it to end (SIGTERM), and wait for that; False when it is late."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def keep_log(self) -> Path:
        """A copy of its log that outlives the block."""
        descriptor, kept = tempfile.mkstemp(prefix="regrow-", suffix=".log")
        os.close(descriptor)
        shutil.copyfile(self._log, kept)
        return Path(kept)

    def _share_fate(self) -> None:
        die_with_parent(self._parent)
