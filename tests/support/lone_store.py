"""An embedded store in a process of its own, without a supervisor: ``python -m support.lone_store DATA_DIR SOCKET``."""

import os
import subprocess
import sys
from pathlib import Path

from regrow.actors.embedded import EmbeddedArguments, EmbeddedStore
from regrow.runtime import logs
from regrow.runtime.actor import run_alone


def start(data_dir: Path, socket: Path) -> "subprocess.Popen[bytes]":
    """One, as a child of the test; its error output is kept for the test to read."""
    command = [sys.executable, "-m", "support.lone_store", str(data_dir), str(socket)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


if __name__ == "__main__":
    logs.configure(actor="store")
    sys.exit(run_alone(EmbeddedStore, EmbeddedArguments(sys.argv[1], sys.argv[2]), "store"))
