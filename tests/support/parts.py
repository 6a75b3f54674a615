"""Every part by its own command, as on several machines, with a proxy on each link between them.

::

    client ──"client"──▶ gateway ──"gateway-store"──▶ valkey-server ◀──"dispatcher-store"── dispatcher ◀──"worker"── far
                                                                                                 ◀────────────────── near
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests

from regrow.chaos.proxy import Proxy
from support.ports import free_port
from support.valkey import DURABLE, Valkey, valkey_server
from support.waiting import wait_until

READY_WITHIN_S = 30.0
LINKS = ("worker", "dispatcher-store", "gateway-store", "client")


class Part:
    """One command that runs; ``log`` is what it says."""

    def __init__(self, log: Path, *words: str) -> None:
        self.log = log
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REGROW_")}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "regrow.runtime.cli", *words], stdout=output, stderr=output, env=environment
            )

    def events(self, event: str) -> list[dict[str, Any]]:
        """What it has logged under this name."""
        lines = [line for line in self.log.read_text().splitlines() if f'"{event}"' in line]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def slots(self) -> list[int]:
        """The pids of a worker's slots."""
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def end(self) -> None:
        """Ask it to end; it must end well.  Whatever happens, it is gone afterwards."""
        with ExitStack() as stack:
            stack.callback(self.process.wait)
            stack.callback(self.process.kill)
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            assert self.process.wait(20) == 0, self.log.read_text()[-4000:]


class Parts:
    """A store, a dispatcher, a gateway, and workers that are started by the test."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self._stack = stack
        (directory / "store").mkdir()
        self.store: Valkey = stack.enter_context(valkey_server(directory / "store", **DURABLE))
        ports = {name: free_port() for name in ("gateway", "dispatcher")}
        targets = {
            "worker": f"tcp://127.0.0.1:{ports['dispatcher']}",
            "dispatcher-store": self.store.url,
            "gateway-store": self.store.url,
            "client": f"tcp://127.0.0.1:{ports['gateway']}",
        }
        self.far: Part
        self.links = {link: stack.enter_context(Proxy(targets[link])) for link in LINKS}
        self.dispatcher_address = targets["worker"]
        self.url = f"http://127.0.0.1:{ports['gateway']}"
        self.far_url = f"http://127.0.0.1:{self.links['client'].port}"
        store = {link: f"redis://127.0.0.1:{self.links[link].port}/0" for link in ("dispatcher-store", "gateway-store")}
        self.gateway = self._start(
            "gateway", "gateway", "--port", str(ports["gateway"]), "--redis-url", store["gateway-store"]
        )
        self.dispatcher = self._start(
            "dispatcher", "dispatcher", "-p", str(ports["dispatcher"]), "--redis-url", store["dispatcher-store"]
        )

    def _start(self, name: str, *words: str) -> Part:
        part = Part(self.directory / name, *words)
        self._stack.callback(part.end)
        return part

    def worker(self, name: str, slots: int, *, is_far: bool) -> Part:
        """Start one, and wait until it is registered.  A far one is behind the proxy."""
        address = self.links["worker"].address if is_far else self.dispatcher_address
        part = self._start(name, "worker", "-m", "push", str(slots), address, "--name", name)
        wait_until(lambda: name in [worker["name"] for worker in self.workers()], READY_WITHIN_S, f"{name} is there")
        return part

    def heal(self) -> None:
        """Undo every fault."""
        for proxy in self.links.values():
            proxy.heal()

    # What its gateway says, past any proxy.

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=30)

    def is_ready(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except requests.ConnectionError:
            return False

    def workers(self) -> list[dict[str, Any]]:
        """Every registered worker."""
        try:
            answer = self.get("/v1/workers")
        except requests.ConnectionError:
            return []
        found: list[dict[str, Any]] = answer.json().get("workers", [])
        return found

    def task(self, task_id: str) -> dict[str, Any]:
        answer = self.get(f"/v1/tasks/{task_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def metric(self, name: str) -> float:
        """The value of a counter without labels."""
        lines = self.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.split()[0] == name)


@contextmanager
def parts(directory: Path) -> Iterator[Parts]:
    """All but the workers, ready for them; gone afterwards, and every fault undone before."""
    with ExitStack() as stack:
        it = Parts(directory, stack)
        stack.callback(it.heal)
        wait_until(lambda: it.dispatcher.events("store.ready"), READY_WITHIN_S, "the dispatcher has its store")
        yield it


class Witness:
    """A file that tasks append to when they start: one line ``NUMBER PID MONOTONIC`` each, where regrow cannot touch it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def lines(self) -> list[tuple[int, int, float]]:
        """Number, slot and time of each start, in order."""
        words = [line.split() for line in self.path.read_text().splitlines()]
        return [(int(number), int(pid), float(at)) for number, pid, at in words]

    def starts(self) -> Counter[int]:
        """How often each one started."""
        return Counter(number for number, _, _ in self.lines())

    def pids(self, number: int) -> list[int]:
        """The slots in which this one started."""
        return [pid for other, pid, _ in self.lines() if other == number]


def square(witness: str, number: int, seconds: float) -> int:
    """The work: it takes so long, and squares its number."""
    note(witness, number)
    time.sleep(seconds)
    return number * number


def wait(witness: str, number: int, gate: str) -> int:
    """The work: it ends when the gate is there, and tells who has done it."""
    note(witness, number)
    while not Path(gate).exists():
        time.sleep(0.01)
    return os.getpid()


def note(witness: str, number: int) -> None:
    """One write, so that lines stay whole."""
    descriptor = os.open(witness, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, f"{number} {os.getpid()} {time.monotonic()}\n".encode())
    os.close(descriptor)
