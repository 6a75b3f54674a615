import asyncio
import http.client
import json
import signal
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import uvloop

from regrow.actors.astore import AsyncStore
from regrow.actors.settings import build
from regrow.gateway.service import Service
from regrow.gateway.tree import NoTree
from support.gateway import Door, gateway
from support.listener import EventListener
from support.lone_gateway import alone, port_of
from support.valkey import valkey_server
from support.waiting import wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with valkey_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server


def accepts(port):
    """Whether anybody does there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_gateway_by_itself_serves_and_stops_when_it_is_asked_to(server, tmp_path):
    log = tmp_path / "log"
    with alone(log, redis_url=server.url, port=0, drain_s=60) as process:
        door = Door(port_of(log), process)
        task_id = door.submit(door.register())
        with ThreadPoolExecutor(1) as pool:
            poll = pool.submit(requests.get, f"{door.url}/v1/tasks/{task_id}?wait_s=30", timeout=40)
            wait_until(lambda: "regrow_long_polls 1.0" in door.get("/metrics").text, 10, "it waits")
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)

            assert poll.result().json()["status"] == "QUEUED"
            assert process.wait(25) == 0
        assert time.monotonic() - started < 20.0, "the poll would have taken 30 s"
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{door.url}/healthz", timeout=5)
        door.session.close()
    assert "Traceback" not in log.read_text()


def test_a_stop_of_less_than_a_second_finishes_what_is_open_too(server, tmp_path):
    log = tmp_path / "log"
    body = json.dumps({"function_id": "x", "payload": ""}).encode()
    with alone(log, redis_url=server.url, port=0, drain_s=1.99) as process:
        port = port_of(log)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            lines = ("POST /v1/tasks HTTP/1.1", "Host: localhost", "Content-Type: application/json")
            head = "\r\n".join((*lines, f"Content-Length: {len(body)}", "", ""))
            connection.sendall(head.encode() + body[:5])
            metrics = f"http://127.0.0.1:{port}/metrics"
            is_read = "regrow_inflight_bytes 5.0"
            wait_until(lambda: is_read in requests.get(metrics, timeout=10).text, 10, "it has read the beginning")
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: not accepts(port), 10, "it takes no new connections")

            time.sleep(0.2)  # that is how slow this client is; the gateway gives it 0.99 s
            connection.sendall(body[5:])
            assert connection.recv(12) == b"HTTP/1.1 422"
        assert process.wait(10) == 0


@pytest.mark.parametrize("fault", [signal.SIGSTOP, signal.SIGKILL])
def test_a_gateway_stops_although_its_store_does_not_answer(tmp_path, fault):
    log = tmp_path / "log"
    with (
        valkey_server(tmp_path) as server,
        alone(log, redis_url=server.url, port=0, drain_s=2) as process,
        EventListener(port_of(log)) as listener,
    ):
        assert listener.status == 200
        server.send_signal(fault)
        with socket.create_connection(("127.0.0.1", port_of(log))) as asking:
            asking.sendall(f"GET /status/{uuid.uuid4()} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert requests.get(f"http://127.0.0.1:{port_of(log)}/healthz", timeout=10).ok  # so that one has begun

            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        assert time.monotonic() - started < 30, "by itself it would not end"


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_stop_ends_what_has_just_begun_to_connect_to_a_store_that_never_answers(tmp_path, loop):
    """A cancellation in the middle of it is lost: redis-py goes on as if nothing had been, and would go on for ever."""

    async def stopped_after(turns):
        service = Service(settings, AsyncStore.connect(settings.redis_url), NoTree())
        await service.start()
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await service.stop()

    settings = build({"REGROW_REDIS_URL": f"unix://{tmp_path}/mute"})
    with socket.socket(socket.AF_UNIX) as mute, asyncio.Runner(loop_factory=loop) as runner:
        mute.bind(f"{tmp_path}/mute")
        mute.listen(100)
        for turns in range(12):
            runner.run(stopped_after(turns))


def test_a_port_that_is_taken_is_one_clear_line(server, tmp_path):
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with alone(log, redis_url=server.url, port=port) as process:
            assert process.wait(20) != 0

    assert f"--port {port}: address already in use" in log.read_text().splitlines()[-1]
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("url", "text"), [("unix:///nowhere/socket", "is it running"), ("", "--redis-url"), ("http://x", "--redis-url")]
)
def test_a_store_that_cannot_be_used_is_one_clear_line(tmp_path, url, text):
    log = tmp_path / "log"
    with alone(log, redis_url=url, port=0) as process:
        assert process.wait(20) != 0

    assert text in log.read_text().splitlines()[-1]
    assert "Traceback" not in log.read_text()


def test_a_store_that_does_not_answer_is_named_without_its_password(tmp_path):
    log = tmp_path / "log"
    with alone(log, redis_url="redis://user:secret@127.0.0.1:1/0", port=0) as process:
        assert process.wait(20) != 0

    assert "--redis-url redis://127.0.0.1:1/0: " in log.read_text()
    assert "secret" not in log.read_text()


@pytest.mark.parametrize(("appendonly", "level"), [("yes", "info"), ("no", "warning")])
def test_a_store_that_forgets_is_worth_a_warning(tmp_path, appendonly, level):
    log = tmp_path / "log"
    with valkey_server(tmp_path, appendonly=appendonly) as server, alone(log, redis_url=server.url, port=0):
        port_of(log)

    (line,) = [json.loads(line) for line in log.read_text().splitlines() if "store.facts" in line]
    assert line["level"] == level


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/register_function", "/v1/tasks", "/v1/pools/workers", "/v1/tree", "/healthz", "/openapi.json"]
)
def test_a_web_page_reaches_nothing(door, method, path):
    for headers, status in (
        ({"Host": "evil.example"}, 421),
        ({"Host": f"localhost:{door.port}", "Origin": "http://evil.example"}, 403),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=10)
        connection.request(method, path, b"{}", {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        assert answer.status == status
        assert answer.getheader("access-control-allow-origin") is None
        connection.close()


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_what_a_form_can_send_is_refused(door, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    for path in ("/register_function", "/execute_function", "/v1/functions", "/v1/tasks", "/v1/tasks/wait"):
        assert requests.post(door.url + path, data=b"{}", headers=headers, timeout=10).status_code == 415


@pytest.fixture(scope="module")
def door(server):
    with gateway(server.url) as door:
        yield door
