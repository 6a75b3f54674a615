"""A whole ``regrow up`` on free ports in a directory of its own, driven from outside as a user would."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dill
import redis
import requests

from support.waiting import wait_until

READY_WITHIN_S = 30.0  # the promise is 3 s; a loaded two-core machine gets more
ENDED = ("COMPLETED", "FAILED")


def text(value: object) -> str:
    """The official wire form: base64 text of dill bytes."""
    return base64.b64encode(dill.dumps(value, recurse=True)).decode()


class Cluster:
    """One running tree."""

    def __init__(
        self, data_dir: Path, *flags: str, command: str = "up", environment: Mapping[str, str] | None = None
    ) -> None:
        self.data_dir = data_dir
        data_dir.mkdir(parents=True, exist_ok=True)
        self.log_path = data_dir / "test.log"
        words = [command, "--port", "0", "--dispatcher-port", "0", "--data-dir", str(data_dir), *flags]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "regrow.runtime.cli", *words],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )

    # -- life

    def wait_ready(self) -> "Cluster":
        """Until every part answers."""
        wait_until(lambda: self.is_ready() or self.ended(), READY_WITHIN_S, "/readyz is 200")
        assert not self.ended(), self.log_path.read_text()
        return self

    def is_ready(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except (FileNotFoundError, requests.ConnectionError):  # not yet, or the former tree's
            return False

    def ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self, within: float = 25.0) -> int:
        """Ask it to end; its exit code."""
        if not self.ended():
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)

    def kill(self) -> None:
        """SIGKILL to the root; whoever it leaves behind must end by fate sharing."""
        if not self.ended():
            self.process.kill()
        self.process.wait(10)

    def endpoints(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.data_dir / "endpoints.json").read_text())
        return found

    @property
    def url(self) -> str:
        return self.endpoints()["gateway"]

    # -- REST

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=70, **options)

    def post(self, path: str, body: object, **options: Any) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=70, **options)

    def register(self, function: Callable[..., object], **fields: object) -> str:
        """By the official call, or by /v1 when there are fields that only it has."""
        body = {"name": function.__name__, "payload": text(function), **fields}
        answer = self.post("/v1/functions" if fields else "/register_function", body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["function_id"])

    def submit(self, function_id: str, *args: object, **kwargs: object) -> str:
        answer = self.post("/execute_function", {"function_id": function_id, "payload": text((args, kwargs))})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["task_id"])

    def task(self, task_id: str, wait_s: float = 0.0) -> dict[str, Any]:
        answer = self.get(f"/v1/tasks/{task_id}", params={"wait_s": wait_s})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def end_of(self, task_id: str, within: float = 30.0) -> dict[str, Any]:
        """The ended task."""
        deadline = time.monotonic() + within
        while True:
            task = self.task(task_id, wait_s=max(0.0, min(20.0, deadline - time.monotonic())))
            if task["status"] in ENDED:
                return task
            assert time.monotonic() < deadline, f"not ended within {within} s: {task}"

    def value(self, task_id: str, within: float = 30.0) -> Any:
        """The value of a task that must COMPLETE."""
        task = self.end_of(task_id, within)
        assert task["status"] == "COMPLETED", task
        return dill.loads(base64.b64decode(task["result"]))

    # -- the tree

    def nodes(self) -> list[dict[str, Any]]:
        """Every node of the tree, flat."""

        def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
            yield node
            for child in node["children"]:
                yield from walk(child)

        return list(walk(self.get("/v1/tree").json()))

    def node(self, path: str) -> dict[str, Any]:
        return next(node for node in self.nodes() if node["path"] == path)

    def of_role(self, role: str) -> list[dict[str, Any]]:
        return [node for node in self.nodes() if node["role"] == role]

    def shape(self) -> set[str] | None:
        """The paths that run, slots included; None while nobody can tell."""
        try:
            return {node["path"] for node in self.nodes() if node["state"] == "running"}
        except (requests.RequestException, KeyError, ValueError):
            return None

    # -- the store

    def store(self) -> redis.Redis:
        """A client of the embedded store, for looking behind the tree's back; close it."""
        return redis.Redis.from_url(self.endpoints()["store"], socket_timeout=None)


@contextmanager
def running(data_dir: Path, *flags: str, environment: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """A tree that is ready, and gone afterwards whatever the test did."""
    cluster = Cluster(data_dir, *flags, environment=environment)
    try:
        yield cluster.wait_ready()
        assert cluster.stop() == 0, cluster.log_path.read_text()
    except BaseException:
        sys.stderr.write(cluster.log_path.read_text()[-8000:])
        raise
    finally:
        cluster.kill()


def send(pid: int, number: signal.Signals) -> None:
    """A signal to one process of the tree."""
    os.kill(pid, number)
