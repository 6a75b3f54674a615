"""A running tree for a benchmark, on free ports and in a directory of its own, gone afterwards."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def tree(mode: str, *flags: str) -> Iterator[str]:
    """A tree that is ready; gives its gateway's URL."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["up", "--mode", mode, "--port", "0", "--dispatcher-port", "0", "--data-dir", folder, *flags]
        with (Path(folder) / "log").open("wb") as log:
            command = [sys.executable, "-m", "regrow.runtime.cli", *words]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            while "Ctrl-C" not in process.stdout.readline():
                assert process.poll() is None, (Path(folder) / "log").read_text()
            yield json.loads((Path(folder) / "endpoints.json").read_text())["gateway"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
