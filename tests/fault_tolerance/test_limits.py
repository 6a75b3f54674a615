"""Limits through the whole tree: what was asked for over REST is held, told, and never tried again."""

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import functions, hungry
from support.cluster import Cluster, text
from support.processes import is_alive
from support.waiting import wait_until

FLAGS = ("--workers", "2", "--slots", "1", "--max-open-files", "50")
MB = 1000 * 1000
GONE_S = 0.5  # promised: nothing of a task lives so long after its time
SLACK_S = 3.0  # for a loaded machine, on top of what is promised


def register(cluster: Cluster, function: Callable[..., Any], **fields: object) -> str:
    payload = base64.b64encode(functions.by_value(function)).decode()
    answer = cluster.post("/v1/functions", {"name": function.__name__, "payload": payload, **fields})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["function_id"])


def submit(cluster: Cluster, function_id: str, *args: object, **fields: object) -> str:
    item = {"function_id": function_id, "payload": text((args, {})), **fields}
    [task] = cluster.post("/v1/tasks", {"tasks": [item]}).json()["tasks"]
    return str(task["task_id"])


def end(cluster: Cluster, task_id: str) -> str:
    """Status, and kind and type of the error, of a task that has run once."""
    task = cluster.end_of(task_id)
    assert len(task["attempts"]) == 1, "a limit is no crash: it is not tried again"
    error = task["error"]
    return f"{task['status']} {error['kind']} {error['type']}" if error else str(task["status"])


@pytest.mark.parametrize(
    ("function", "limits", "above", "below", "kind"),
    [
        (hungry.sleep, {"wall_s": 2.0}, 2.2, 1.7, "timed_out wall_s"),
        (hungry.hold_memory, {"memory_bytes": 300 * MB}, 330 * MB, 270 * MB, "oom memory_bytes"),
        (hungry.burn, {"cpu_s": 1.0}, 1.1, 0.9, "limit cpu_s"),
        (hungry.give_bytes, {"output_bytes": MB}, 1_100_000, 900_000, "limit output_bytes"),
        (hungry.start_processes, {"processes": 10}, 11, 9, "limit processes"),
        (hungry.open_files, {}, 55, 45, "limit open_files"),  # the tree's own cap
    ],
)
def test_a_limit_of_a_function_or_of_the_tree_ends_what_is_above_and_nothing_else(
    cluster: Cluster, function: Callable[..., Any], limits: dict[str, float], above: float, below: float, kind: str
) -> None:
    function_id = register(cluster, function, limits=limits)

    failing, passing = submit(cluster, function_id, above), submit(cluster, function_id, below)

    assert end(cluster, failing) == f"FAILED {kind}"
    assert end(cluster, passing) == "COMPLETED"


def test_the_limit_of_a_task_goes_before_its_functions_and_the_rest_stays(cluster: Cluster) -> None:
    function_id = register(cluster, hungry.sleep, limits={"wall_s": 60.0, "output_bytes": 1})

    shorter = submit(cluster, function_id, 60.0, limits={"wall_s": 0.5})
    longer = submit(cluster, function_id, 0.0)

    assert end(cluster, shorter) == "FAILED timed_out wall_s"
    assert end(cluster, longer) == "FAILED limit output_bytes"


@pytest.mark.parametrize("way", ["limits", "deadline_s"])
def test_all_that_a_task_has_started_is_dead_soon_after_its_time(cluster: Cluster, tmp_path: Path, way: str) -> None:
    function_id = register(cluster, hungry.stay)
    submitted_at = time.monotonic()
    task_id = submit(
        cluster, function_id, str(tmp_path / "pids"), True, **{way: {"wall_s": 3.0} if way == "limits" else 3.0}
    )
    wait_until((tmp_path / "pids").exists, 3, "it has started all of them")
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert all(map(is_alive, pids))

    wait_until(lambda: not any(map(is_alive, pids)), 3 + GONE_S + SLACK_S, "all of them are dead")

    assert 2.5 < time.monotonic() - submitted_at < 3 + GONE_S + SLACK_S
    assert end(cluster, task_id).startswith("FAILED timed_out")


def test_what_a_task_has_printed_is_shown_with_it_also_when_it_was_killed(cluster: Cluster) -> None:
    function_id = register(cluster, hungry.print_both_and, limits={"wall_s": 1.0}, max_attempts=1)

    for then, how in (("return", "COMPLETED"), ("sleep", "FAILED timed_out wall_s"), ("crash", None)):
        task_id = submit(cluster, function_id, then)
        assert how is None or end(cluster, task_id) == how
        assert cluster.end_of(task_id)["output"].startswith("to standard output\nto standard error\n")
