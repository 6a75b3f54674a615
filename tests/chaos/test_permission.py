"""Whose tree may be hit: one of this machine, and, for more than a signal, one that allows chaos."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from regrow.chaos.permission import attach, local, permission
from regrow.chaos.proxy import Proxy
from regrow.chaos.tree import TreeUnreadable
from regrow.runtime.errors import ConfigError
from support.cluster import Cluster, running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("permission"), "--workers", "1", "--slots", "1") as it:
        yield it


@contextmanager
def gateway(status: int, body: bytes) -> Iterator[str]:
    """Something that answers so."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_tree_of_this_machine_is_one_whose_root_listens_where_it_was_reached(cluster: Cluster) -> None:
    assert local(cluster.url).gateway == cluster.url


def test_a_tree_that_is_reached_through_a_tunnel_is_none_of_this_machines(cluster: Cluster) -> None:
    with (
        Proxy(cluster.url.replace("http://", "tcp://")) as tunnel,
        pytest.raises(ConfigError, match=r"is not of this machine: no process .* of yours listens there"),
    ):
        local(tunnel.address.replace("tcp://", "http://"))


def test_kill_refuses_a_tree_of_another_machine_and_hits_nobody(cluster: Cluster) -> None:
    before = [(node["path"], node["pid"]) for node in cluster.nodes()]
    with Proxy(cluster.url.replace("http://", "tcp://")) as tunnel:
        url = tunnel.address.replace("tcp://", "http://")
        command = [sys.executable, "-m", "regrow.runtime.cli", "chaos", "kill", "worker", "--url", url]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 2
    assert "is not of this machine" in ended.stderr
    assert [(node["path"], node["pid"]) for node in cluster.nodes()] == before


@pytest.mark.parametrize(("status", "body"), [(200, b'{"allowed": false, "tree": "1"}'), (404, b"{}")])
def test_a_tree_that_does_not_say_so_does_not_allow_chaos(status: int, body: bytes) -> None:
    with gateway(status, body) as url, pytest.raises(ConfigError, match="--allow-chaos"):
        permission(url)


def test_a_tree_that_says_so_allows_chaos() -> None:
    with gateway(200, b'{"allowed": true, "tree": "1f"}') as url:
        assert permission(url).tree == "1f"


def test_what_answers_otherwise_is_no_tree() -> None:
    with gateway(200, b"<html>") as url, pytest.raises(TreeUnreadable):
        permission(url)


def test_a_running_tree_that_serves_others_is_not_attached_to(cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match="does not allow chaos"):
        attach(cluster.url)


def test_nobody_is_there() -> None:
    with pytest.raises(TreeUnreadable):
        attach("http://127.0.0.1:1")


def test_a_freeze_by_the_command_leaves_no_journal(cluster: Cluster) -> None:
    command = [sys.executable, "-m", "regrow.runtime.cli", "chaos", "freeze", "slot", "--for", "0.2"]
    ended = subprocess.run(
        [*command, "--data-dir", str(cluster.data_dir)], capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert list((cluster.data_dir / "chaos").iterdir()) == []
