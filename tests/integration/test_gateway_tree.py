import os
import signal

import pytest
import requests

from support.cluster import running
from support.waiting import wait_until

ROLES = {"root", "supervisor", "store", "dispatcher", "worker", "slot", "gateway"}
FIELDS = {"name", "path", "role", "pid", "state", "incarnation", "restarts", "children"}


@pytest.fixture
def cluster(tmp_path):
    with running(tmp_path / "data") as cluster:
        yield cluster


def answers(url):
    """A connection may be cut with its gateway, but none is refused: the root holds the port."""
    try:
        return requests.get(url + "/healthz", timeout=20).ok
    except requests.ConnectionError as error:
        if "refused" in str(error):
            raise
        return False


def test_the_tree_is_shown_and_its_pool_resized(cluster):
    nodes = cluster.nodes()
    resized = requests.patch(cluster.url + "/v1/pools/workers", json={"size": 3}, timeout=60)
    refused = requests.patch(cluster.url + "/v1/pools/workers", json={"size": -1}, timeout=60)

    assert all(node.keys() >= FIELDS for node in nodes)
    assert {node["role"] for node in nodes} == ROLES
    assert (resized.status_code, resized.json()) == (200, {"size": 3})
    assert refused.status_code == 422
    wait_until(lambda: len(cluster.of_role("worker")) == 3, 10, "the picture has three workers")


def test_a_killed_gateway_is_back_on_its_port_and_nobody_is_refused_meanwhile(cluster):
    (gateway,) = cluster.of_role("gateway")
    url = cluster.url

    os.kill(gateway["pid"], signal.SIGKILL)

    assert wait_until(lambda: answers(url), 20, "the new gateway answers")
    (again,) = cluster.of_role("gateway")
    assert again["pid"] != gateway["pid"]
    assert (again["incarnation"], again["restarts"]) == (2, 1)
