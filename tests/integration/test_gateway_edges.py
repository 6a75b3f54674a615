"""The gateway where things go wrong under it, and the page that a browser is shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cutter import cut_replies
from support.gateway import NO_ARGUMENTS, gateway, text
from support.valkey import Valkey, valkey_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    with valkey_server(tmp_path) as server:
        yield server


def test_a_submit_whose_reply_was_lost_is_accepted_once_and_answered(server: Valkey) -> None:
    with cut_replies(server.socket, cuts=1) as cutter, gateway(f"unix://{cutter.server_address}") as door:
        function_id = door.register()

        answer = door.post("/execute_function", {"function_id": function_id, "payload": text(NO_ARGUMENTS)})

        assert cutter.scripts == 1, "the reply was lost"
        assert answer.status_code == 200
        with server.client() as client:
            assert [queued.decode() for queued in client.lrange("{regrow}:queue", 0, -1)] == [answer.json()["task_id"]]


def test_an_idempotency_key_outlives_a_gateway_that_did_not_live_to_answer(server: Valkey) -> None:
    with gateway(server.url) as door:
        item = {"function_id": door.register(), "payload": text(NO_ARGUMENTS), "idempotency_key": "k"}
        before = door.post("/v1/tasks", {"tasks": [item]}).json()
        door.process.kill()
        door.process.wait()

    with gateway(server.url) as door:
        after = door.post("/v1/tasks", {"tasks": [item]}).json()
        other = door.post("/v1/tasks", {"tasks": [item | {"max_attempts": 1}]}).json()

    assert after == before
    assert other["tasks"][0]["error"]["code"] == "idempotency_conflict"
    with server.client() as client:
        assert client.llen("{regrow}:queue") == 1


def test_a_submit_that_is_carried_out_but_answered_503_is_repeated_safely(server: Valkey) -> None:
    with cut_replies(server.socket, cuts=4) as cutter, gateway(f"unix://{cutter.server_address}") as door:
        item = {"function_id": door.register(), "payload": text(NO_ARGUMENTS), "idempotency_key": "k"}

        first = door.post("/v1/tasks", {"tasks": [item]})
        again = door.post("/v1/tasks", {"tasks": [item]})

        assert (cutter.scripts, first.status_code) == (4, 503)
        assert "idempotency_key" in first.json()["detail"]
        with server.client() as client:
            queued = [task_id.decode() for task_id in client.lrange("{regrow}:queue", 0, -1)]
        assert [verdict["task_id"] for verdict in again.json()["tasks"]] == queued


def test_a_browser_is_shown_the_api_without_any_other_host(server: Valkey) -> None:
    with gateway(server.url) as door:
        page = door.get("/", headers={"Accept": "text/html,application/xhtml+xml"})
        script = door.get("/docs/files/swagger-ui-bundle.js")
        plain = door.get("/")

    assert page.url.endswith("/docs")
    assert "swagger-ui" in page.text
    assert "https://" not in page.text
    assert script.status_code == 200
    assert len(script.content) > 100_000
    assert "running" in plain.json()["message"]
