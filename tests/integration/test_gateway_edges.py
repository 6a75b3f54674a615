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
