"""A gateway process over a real store, and a hand that plays the dispatcher: it takes tasks and writes how they ended.

::

    with valkey_server(tmp_path) as server, gateway(server.url) as door:
        task_id = door.submit(function_id)
        Hand(server.url).complete(pickle.dumps(42))
"""

import base64
import os
import pickle
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
import requests

from regrow.actors.claims import Share
from regrow.actors.records import DispatcherRecord
from regrow.actors.store import Store
from regrow.actors.task import Claimed, Failure, FailureKind, Move, Outcome, Settlement, WorkerId, WorkerRecord
from support.processes import cpu_s
from support.waiting import wait_until

NO_ARGUMENTS = pickle.dumps(((), {}))
MSGPACK = "application/msgpack"
SERVE = """
import socket, sys, uvicorn
config = uvicorn.Config("regrow.gateway.api:create_app", factory=True, loop="uvloop", log_level="warning")
uvicorn.Server(config).run([socket.socket(fileno=int(sys.argv[1]))])
"""


def text(data: bytes) -> str:
    """The wire form of bytes in JSON."""
    return base64.b64encode(data).decode()


class Door:
    """A client of one gateway."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.process = process
        self.session = requests.Session()

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=30, **more)

    def post(self, path: str, body: object, **more: Any) -> requests.Response:
        return self.session.post(self.url + path, json=body, timeout=30, **more)

    def pack(self, path: str, body: object) -> Any:
        """The same, in msgpack both ways."""
        answer = self.session.post(
            self.url + path,
            msgspec.msgpack.encode(body),
            headers={"Content-Type": MSGPACK, "Accept": MSGPACK},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return msgspec.msgpack.decode(answer.content)

    def register(self, code: bytes = pickle.dumps(len), name: str = "f") -> str:
        answer = self.post("/register_function", {"name": name, "payload": text(code)})
        assert answer.status_code == 200, answer.text
        return answer.json()["function_id"]

    def submit(self, function_id: str, params: bytes = NO_ARGUMENTS) -> str:
        answer = self.post("/execute_function", {"function_id": function_id, "payload": text(params)})
        assert answer.status_code == 200, answer.text
        return answer.json()["task_id"]

    def memory_bytes(self) -> int:
        """The highest memory use of the process so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

    def cpu_s(self) -> float:
        """User and system time of the process so far."""
        return cpu_s(self.process.pid)


@contextmanager
def gateway(store_url: str, **settings: object) -> Iterator[Door]:
    """A gateway in a process of its own, as any ASGI server would host it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        environment = os.environ | {"REGROW_REDIS_URL": store_url}
        environment |= {f"REGROW_{name.upper()}": str(value) for name, value in settings.items()}
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(listener.fileno())], env=environment, pass_fds=[listener.fileno()]
        )
        door = Door(listener.getsockname()[1], process)
    try:
        wait_until(lambda: door.get("/healthz").status_code == 200, 20, "the gateway answers")
        yield door
    finally:
        door.session.close()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()


class Hand:
    """A dispatcher with one worker, played by the test."""

    def __init__(self, store_url: str) -> None:
        self.store = Store.connect(store_url)
        self.name = f"hand-{uuid.uuid4()}"
        self.worker = WorkerId("worker-0@test/1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def beat(self, *, is_draining: bool = False, workers: int = 1) -> None:
        """Show life."""
        record = DispatcherRecord(self.name, "here", os.getpid(), "push", "tcp://127.0.0.1:1", 1.0)
        worker = WorkerRecord(
            self.worker,
            "worker-0",
            "here",
            1,
            "push",
            2,
            1,
            1.0,
            "3.11.7",
            "0.4.1",
            is_draining,
            self.name,
            "root/workers/worker-0",
            [1],
        )
        self.store.beat(record, [worker] * workers)

    def claim(self, count: int = 1) -> list[Claimed]:
        """Take tasks: they run now."""
        return self.store.claim(self.name, str(uuid.uuid4()), [Share(self.worker, count, 0.0)], {}, 1 << 30).tasks

    def complete(self, value: bytes, count: int = 1) -> list[str]:
        """Take tasks and end them well."""
        return self.settle(self.claim(count), Move.SUCCEED, value=value)

    def fail(self, kind: FailureKind, type: str, message: str) -> list[str]:
        """Take one task and end it badly."""
        failure = Failure(kind, type, message, "Traceback ...", pickle.dumps(ValueError(message)))
        return self.settle(self.claim(), Move.FAIL, failure=failure)

    def settle(self, claims: list[Claimed], move: Move, **outcome: Any) -> list[str]:
        settlements = [
            Settlement(it.task_id, it.attempt, move, it.worker, Outcome(it.task_id, it.attempt, **outcome))
            for it in claims
        ]
        self.store.settle(self.name, settlements)
        return [claim.task_id for claim in claims]
