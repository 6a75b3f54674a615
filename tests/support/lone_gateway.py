"""``regrow gateway`` in a process of its own, as on another machine; it says in its log where it listens."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.gateway import Door
from support.waiting import wait_until

SERVE = """
import os, sys
from regrow.actors.settings import build
from regrow.gateway.server import serve_alone
from regrow.runtime.errors import ConfigError
try:
    sys.exit(serve_alone(build(os.environ)))
except ConfigError as error:
    sys.exit(str(error))
"""


@contextmanager
def alone(log: Path, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    """Its process, its output in ``log``, whether it can start or not."""
    environment = os.environ | {f"REGROW_{name.upper()}": str(value) for name, value in settings.items()}
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", SERVE], env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def port_of(log: Path) -> int:
    """The port that it says it listens on, once it does."""
    return wait_until(lambda: _said_port(log), 60, "it says where it listens")


def _said_port(log: Path) -> int:
    found = re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())
    return int(found[1]) if found else 0


@contextmanager
def serving(store_url: str, log: Path, port: int = 0, **settings: object) -> Iterator[Door]:
    """A client of one that listens; nothing unforeseen may happen in it."""
    with alone(log, redis_url=store_url, port=port, **settings) as process:
        door = Door(port_of(log), process)
        yield door
        door.session.close()
    assert "Traceback" not in log.read_text()
