"""What a tree is told of the faults that are done to it, and that nobody waits for it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from regrow.chaos.evidence import Strike
from regrow.chaos.fault import Victim
from regrow.chaos.herald import Herald
from regrow.chaos.progress import Said, Struck, Undone, Word
from support.ports import free_port
from support.waiting import wait_until

VICTIM = Victim("root/workers/worker-0", "worker", 1, 1, 1)
KILL = Strike(1, "kill", {}, 0.0, 5.0, None, VICTIM, "worker-0", "SIGKILL")
CUT = Strike(2, "net.cut", {"link": "worker-dispatcher"}, 0.0, 6.0, 7.0)
MISS = Strike(3, "store.pause", {}, 0.0, detail="no store")


class Gateway:
    """Takes note of what it is told, after it has answered with each of ``statuses``."""

    def __init__(self, port: int = 0, statuses: tuple[int, ...] = ()) -> None:
        self.told: list[dict[str, Any]] = []
        left = list(statuses)
        told = self.told

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = left.pop(0) if left else 200
                if status == 200:
                    told.append(body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", port), Answer)


@contextmanager
def gateway(port: int = 0, statuses: tuple[int, ...] = ()) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    it = Gateway(port, statuses)
    thread = threading.Thread(target=it.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{it.server.server_port}", it.told
    finally:
        it.server.shutdown()
        thread.join()
        it.server.server_close()


def test_what_was_done_missed_and_undone_is_told_in_order_with_its_time() -> None:
    heard: list[Word] = []
    now, wall = time.monotonic(), time.time()

    with gateway() as (url, told), Herald(url) as herald:
        tell = herald.also(heard.append)
        words = [Struck(KILL), Said("?"), Struck(MISS), Struck(CUT), Undone(CUT), Undone(MISS)]
        for word in words:
            tell(word)
        wait_until(lambda: len(told) == 4, 10, "all are told")

    assert heard == words
    assert [(each["fault"], each["target"], each["phase"]) for each in told] == [
        ("kill", "root/workers/worker-0", "injected"),
        ("store.pause", "store", "missed"),
        ("net.cut", "worker-dispatcher", "injected"),
        ("net.cut", "worker-dispatcher", "undone"),
    ]
    assert told[0]["at"] == pytest.approx(wall - (now - 5.0), abs=0.1)
    assert told[1]["detail"] == "no store"


def test_a_gateway_that_is_busy_or_down_is_told_later() -> None:
    port = free_port()

    with Herald(f"http://127.0.0.1:{port}") as herald:
        herald.also(lambda _: None)(Struck(KILL))
        with gateway(port, statuses=(503, 429)) as (_, told):
            wait_until(lambda: len(told) == 1, 20, "it is told")


def test_nobody_waits_for_a_gateway_that_never_comes_back() -> None:
    began = time.monotonic()

    with Herald(f"http://127.0.0.1:{free_port()}") as herald:
        for _ in range(1000):
            herald.also(lambda _: None)(Struck(KILL))
        assert time.monotonic() - began < 1

    assert time.monotonic() - began < 10


def test_a_gateway_that_refuses_is_not_asked_again() -> None:
    with gateway(statuses=(403,)) as (url, told), Herald(url) as herald:
        tell = herald.also(lambda _: None)
        tell(Struck(KILL))
        tell(Struck(CUT))
        wait_until(lambda: bool(told), 10, "the next one is told")

    assert [each["fault"] for each in told] == ["net.cut"]
