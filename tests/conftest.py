"""Guards round every test: it leaves no process, no socket and no changed signal handler behind.

A tree that a module's tests share may replace its own processes meanwhile; at the end of the session nothing may be left.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

from regrow.runtime.process import become_subreaper
from support.waiting import wait_until


def pytest_configure() -> None:
    """Orphans of any test become children of this process, where the guard sees them.

    What programs inherit of signals is the same however the suite was started: nohup, say, would have them ignored.
    """
    become_subreaper()
    settings.register_profile("untimed", deadline=None)  # how long an example takes is the machine's affair
    settings.load_profile("untimed")
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def temporary_directory() -> Iterator[Path]:
    """A short directory of this session's own for run directories and sockets, also in the programs that tests start."""
    before, was = os.environ.get("TMPDIR"), tempfile.tempdir
    directory = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    os.environ["TMPDIR"] = tempfile.tempdir = str(directory)
    yield directory
    wait_until(lambda: not _names(_descendants()), 2, "no process is left over by the session")
    tempfile.tempdir = was
    os.environ.pop("TMPDIR")
    if before is not None:
        os.environ["TMPDIR"] = before
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(autouse=True)
def leaves_nothing_behind(temporary_directory: Path) -> Iterator[None]:
    """Processes get two seconds to be gone, as fate sharing promises; what is left is killed and fails the test."""
    processes, handlers = _descendants(), _handlers()
    sockets = set(temporary_directory.glob("regrow-*"))

    yield

    try:
        wait_until(lambda: not _names(_strays(processes)), 2, "no process is left over")
    except AssertionError:
        strays = _strays(processes)
        left = _names(strays)
        for process in strays:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        pytest.fail(f"processes left over: {left}")
    assert set(temporary_directory.glob("regrow-*")) <= sockets, "a run directory is left over"
    assert _handlers() == handlers, "a signal handler was changed"


def _handlers() -> dict[int, object]:
    return {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)}


def _descendants() -> set[psutil.Process]:
    """All that live below this process; adopted zombies are reaped."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, ChildProcessError):
            if process.status() == psutil.STATUS_ZOMBIE and process.ppid() == os.getpid():
                os.waitpid(process.pid, os.WNOHANG)
            elif process.status() != psutil.STATUS_ZOMBIE:
                found.add(process)
    return found


def _strays(before: set[psutil.Process]) -> set[psutil.Process]:
    """What lives now and did not, but for the new processes of trees that were there before."""
    new = _descendants() - before
    return {process for process in new if not before & set(_ancestors(process))}


def _ancestors(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return process.parents()
    return []


def _names(processes: set[psutil.Process]) -> list[str]:
    names = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            names.append(f"{process.pid} {' '.join(process.cmdline()) or process.name()}")
    return names
