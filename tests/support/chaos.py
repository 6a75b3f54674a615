"""``regrow chaos run`` as a user has it, on experiments that a test writes, and what it leaves."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from regrow.chaos.dossier import Dossier

ROOT = Path(__file__).parents[2]
RUN_S = 100.0  # generous: a loaded two-core machine


class ChaosRun:
    """One command under way, in a process group of its own as in a terminal."""

    def __init__(self, folder: Path, experiment: str, *flags: str, variables: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "experiment.yaml"
        file.write_text(experiment)
        self.dossier = Dossier(folder / "run")
        command = [
            sys.executable,
            "-m",
            "regrow.runtime.cli",
            "chaos",
            "run",
            str(file),
            "--out",
            str(self.dossier.path),
        ]
        self._output = folder / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *flags], stdout=output, stderr=output, start_new_session=True,
                env={**os.environ, **(variables or {})},
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self._output.read_text()

    def interrupt(self) -> None:
        """Ctrl-C: every process of the group gets it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def code(self) -> int:
        """Its exit code, when it has ended."""
        try:
            return self.process.wait(RUN_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end; so far:\n{self.text}") from None


def run(folder: Path, experiment: str, *flags: str, variables: Mapping[str, str] | None = None) -> ChaosRun:
    """One command that has ended."""
    with ChaosRun(folder, experiment, *flags, variables=variables) as found:
        found.code()
    return found


def broken(folder: Path, *changes: tuple[str, str, str]) -> dict[str, str]:
    """The environment in which regrow is a copy with ``changes`` (file, right, wrong): a bug, planted from outside."""
    package = folder / "broken" / "regrow"
    for name in ("runtime", "actors", "gateway", "chaos"):
        shutil.copytree(ROOT / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file, right, wrong in changes:
        text = (package / file).read_text()
        assert text.count(right) == 1, f"{file} has changed: {right!r} occurs {text.count(right)} times"
        (package / file).write_text(text.replace(right, wrong))
    return {"PYTHONPATH": str(package.parent)}
