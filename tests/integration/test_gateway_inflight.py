"""A gateway takes in no more bytes at once than it may, and gives out no more: whoever comes too much is told when to come back."""

import json
import pickle
import socket
from collections.abc import Iterator

import pytest

from regrow.gateway.inflight import Hold, Inflight
from regrow.gateway.problems import ApiError
from support.gateway import NO_ARGUMENTS, Door, Hand, gateway, text
from support.valkey import valkey_server
from support.waiting import wait_until

LIMIT = 1_000_000


@pytest.fixture(scope="module")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with valkey_server(tmp_path_factory.mktemp("store")) as server:
        yield server.url


@pytest.fixture(scope="module")
def door(store_url: str) -> Iterator[Door]:
    with gateway(store_url, max_inflight_bytes=LIMIT) as door:
        yield door


class SlowPost:
    """A request whose body is sent bit by bit."""

    def __init__(self, door: Door, path: str, body: bytes) -> None:
        self._socket = socket.create_connection(("127.0.0.1", door.port))
        self._left = body
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode())

    def send(self, count: int) -> None:
        self._socket.sendall(self._left[:count])
        self._left = self._left[count:]

    def status(self) -> int:
        """Of the answer."""
        head = self._socket.recv(65536)
        self._socket.close()
        return int(head.split()[1])


def inflight(door: Door) -> float:
    lines = door.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("regrow_inflight_bytes "))


def execute(function_id: str, params: bytes) -> bytes:
    return json.dumps({"function_id": function_id, "payload": text(params)}).encode()


def test_what_does_not_fit_is_refused_with_the_time_to_come_back_and_taken_later(door: Door) -> None:
    function_id = door.register()
    body = execute(function_id, pickle.dumps(((b"x" * 500_000,), {})))
    slow = SlowPost(door, "/execute_function", body)
    slow.send(600_000)
    wait_until(lambda: inflight(door) > 500_000, 5, "the first body is on its way")

    refused = door.post("/execute_function", json.loads(body))
    small = door.post("/execute_function", {"function_id": function_id, "payload": text(NO_ARGUMENTS)})
    slow.send(len(body))

    assert (refused.status_code, refused.json()["code"], refused.headers["Retry-After"]) == (429, "busy", "1")
    assert small.status_code == 200, "what fits is taken"
    assert slow.status() == 200
    wait_until(lambda: inflight(door) == 0, 5, "nothing is on its way any more")
    assert door.post("/execute_function", json.loads(body)).status_code == 200


def test_a_request_that_is_alone_is_taken_whatever_its_size(door: Door) -> None:
    large = pickle.dumps(((b"x" * 3 * LIMIT,), {}))

    assert door.submit(door.register(), large)


def test_a_client_that_goes_away_in_the_middle_leaves_nothing_counted(door: Door) -> None:
    slow = SlowPost(door, "/execute_function", b"x" * 900_000)
    slow.send(500_000)
    wait_until(lambda: inflight(door) > 400_000, 5, "it is on its way")

    slow._socket.close()

    wait_until(lambda: inflight(door) == 0, 5, "it is not any more")
    answered = door.get("/metrics").text
    assert 'route="/execute_function",status="400"} 1' in answered, "the client's doing"
    assert 'status="500"' not in answered


def test_results_count_until_their_client_has_them(door: Door, store_url: str) -> None:
    with Hand(store_url) as hand:
        hand.claim(100)  # those of the other tests
        task_id = door.submit(door.register())
        assert hand.complete(pickle.dumps(b"x" * 20 * LIMIT)) == [task_id]
    slow = socket.create_connection(("127.0.0.1", door.port))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.sendall(f"GET /v1/tasks/{task_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    wait_until(lambda: inflight(door) > LIMIT, 10, "the result is on its way")

    again = door.get(f"/v1/tasks/{task_id}")
    status = door.get(f"/status/{task_id}")
    slow.close()

    assert (again.status_code, again.json()["code"]) == (429, "busy")
    assert status.json()["status"] == "COMPLETED"
    wait_until(lambda: inflight(door) == 0, 5, "nobody waits for it any more")
    assert door.get(f"/v1/tasks/{task_id}").status_code == 200


def test_whoever_is_refused_makes_room_for_the_others() -> None:
    inflight = Inflight(100)
    first, second = Hold(inflight), Hold(inflight)
    first.grow(60)
    second.grow(30)

    with pytest.raises(ApiError) as refused:
        second.grow(20)
    assert refused.value.problem == "busy"
    second.release()
    second.release()
    first.grow(500)

    assert inflight.used_bytes == 560
    first.move_to(Inflight(100))
    assert (inflight.used_bytes, first.inflight.used_bytes) == (0, 560)
    first.release()
    assert first.inflight.used_bytes == 0
