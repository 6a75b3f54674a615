import json
import pickle
import socket
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from regrow.actors.task import Move
from support.gateway import NO_ARGUMENTS, Hand, gateway, text
from support.valkey import valkey_server
from support.waiting import wait_until

POLLS = 1000


@pytest.fixture
def server(tmp_path):
    with valkey_server(tmp_path) as server:
        yield server


@pytest.fixture
def door(server):
    with gateway(server.url) as door:
        yield door


class Poll:
    """One long poll on a socket of its own, read when it is asked for."""

    def __init__(self, port, task_id):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        request = f"GET /v1/tasks/{task_id}?wait_s=60 HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
        self.socket.sendall(request.encode())

    def answer(self):
        with self.socket, self.socket.makefile("rb") as stream:
            head, _, body = stream.read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        return json.loads(body)


def ninety_ninth(door, count):
    """The 99th percentile of so many GET /healthz, in seconds."""
    took = []
    for _ in range(count):
        started = time.perf_counter()
        assert door.get("/healthz").status_code == 200
        took.append(time.perf_counter() - started)
    return statistics.quantiles(took, n=100)[98]


def long_polls(door):
    return int(
        float(
            next(
                line.split()[1]
                for line in door.get("/metrics").text.splitlines()
                if line.startswith("regrow_long_polls ")
            )
        )
    )


def test_a_thousand_long_polls_do_not_slow_other_requests_and_all_are_answered(door, server):
    function_id = door.register()
    task_ids = [door.submit(function_id) for _ in range(10)]
    alone = ninety_ninth(door, 300)

    polls = [Poll(door.port, task_ids[number % 10]) for number in range(POLLS)]
    wait_until(lambda: long_polls(door) == POLLS, 30, "all polls wait")
    crowded = ninety_ninth(door, 300)
    with Hand(server.url) as hand:
        hand.beat()
        started = time.monotonic()
        hand.complete(b"N.", count=10)
    answers = [poll.answer() for poll in polls]

    assert {answer["status"] for answer in answers} == {"COMPLETED"}
    assert time.monotonic() - started < 5.0
    assert crowded < max(0.05, 5 * alone), f"{alone=} {crowded=}"
    assert long_polls(door) == 0


def test_submits_go_on_while_many_wait_and_a_check_is_under_way(door):
    """A payload of the worst shape is checked in a thread: the loop answers others meanwhile."""
    function_id = door.register()
    heavy = pickle.dumps((([str(number) for number in range(600_000)],), {}))
    with ThreadPoolExecutor(1) as pool:
        submit = pool.submit(door.pack, "/v1/tasks", {"tasks": [{"function_id": function_id, "payload": heavy}]})
        took = []
        while not submit.done():
            started = time.perf_counter()
            requests.get(f"{door.url}/healthz", timeout=10)
            took.append(time.perf_counter() - started)

    assert "task_id" in submit.result()["tasks"][0]
    assert statistics.median(took) < 0.1


def test_waiters_hear_of_endings_that_fell_into_a_lost_connection(door, server):
    task_id = door.submit(door.register())
    poll = Poll(door.port, task_id)
    wait_until(lambda: long_polls(door) == 1, 10, "it waits")
    with server.client() as client, Hand(server.url) as hand:
        claims = hand.claim()
        client.client_kill_filter(_type="pubsub")
        hand.settle(claims, Move.SUCCEED, value=b"N.")

    assert poll.answer()["status"] == "COMPLETED"


def test_while_the_store_is_away_nothing_is_acknowledged_and_afterwards_all_goes_on(door, server):
    function_id = door.register()
    task_id = door.submit(function_id)
    server.end()

    item = {"function_id": function_id, "payload": text(NO_ARGUMENTS)}
    for answer in (
        door.post("/execute_function", item),
        door.get(f"/status/{task_id}"),
        door.post("/v1/tasks", {"tasks": [item]}),
        door.get("/v1/workers"),
    ):
        assert answer.status_code == 503, answer.text
        assert answer.json()["code"] == "store_unavailable"
        assert int(answer.headers["retry-after"]) > 0
    assert door.get("/readyz").status_code == 503
    assert door.get("/healthz").status_code == 200
    assert "regrow_store_up 0.0" in door.get("/metrics").text

    server.start()
    function = {"name": "f", "payload": text(pickle.dumps(len))}
    wait_until(lambda: door.post("/register_function", function).ok, 10, "functions are registered again")
