"""SIGKILL to a slot, to its worker, to the supervisor of the workers: of what the task had started, detached or not, nothing lives on."""

import base64
import signal
import time
from pathlib import Path

import pytest

from support import functions, hungry
from support.cluster import Cluster, send
from support.processes import is_alive
from support.waiting import wait_until

FLAGS = ("--mode", "local", "--workers", "2", "--slots", "1")
LEFT_S = 2.0  # promised, as long as the root lives
SLACK_S = 3.0  # for a loaded machine


@pytest.mark.parametrize("role", ["slot", "worker", "supervisor"])
def test_nothing_of_a_task_outlives_the_death_of_any_process_above_it(
    cluster: Cluster, tmp_path: Path, role: str
) -> None:
    payload = base64.b64encode(functions.by_value(hungry.stay)).decode()
    body = {"name": "stay", "payload": payload, "max_attempts": 1}
    function_id = cluster.post("/v1/functions", body).json()["function_id"]
    task_id = cluster.submit(function_id, str(tmp_path / "pids"), False)
    wait_until((tmp_path / "pids").exists, 20, "it has started all of them")
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    slot = next(node for node in cluster.of_role("slot") if node["pid"] == pids[0])
    above = slot["path"].rpartition("/")[0]
    path = {"slot": slot["path"], "worker": above, "supervisor": above.rpartition("/")[0]}[role]
    assert len(pids) == 4
    assert all(map(is_alive, pids))

    send(cluster.node(path)["pid"], signal.SIGKILL)
    killed_at = time.monotonic()

    wait_until(lambda: not any(map(is_alive, pids)), LEFT_S + SLACK_S, "all that it had started is dead")
    assert time.monotonic() - killed_at < LEFT_S + SLACK_S
    assert cluster.end_of(task_id)["error"]["kind"] in ("crashed", "quarantined", "worker_lost")
