"""A worker is killed under a task: the story names its death, that the task was queued again, and its second attempt, in order."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import redis

from regrow.actors import keys
from support.cluster import Cluster
from support.listener import EventListener
from support.waiting import wait_until

FLAGS = ("--workers", "2", "--slots", "1", "--allow-chaos")
AGAIN_WITHIN_S = (
    10.0  # the promise is below 2 s from the death to the second attempt; a loaded two-core machine gets more
)


def run_once_killed(cluster: Cluster, witness: Path) -> tuple[str, dict[str, Any]]:
    """A task whose first worker was killed while it ran: its id, and that worker."""

    def witnessed(witness: str) -> str:
        """Write down who we are; only the second time there is an end."""
        import os
        import time
        from pathlib import Path

        with open(witness, "a") as file:
            file.write(f"{os.getpid()} {os.getppid()}\n")
        if len(Path(witness).read_text().splitlines()) == 1:
            time.sleep(60)
        return "done"

    task_id = cluster.submit(cluster.register(witnessed), str(witness))
    wait_until(lambda: witness.exists() and witness.read_text().endswith("\n"), 20, "it runs")
    slot = int(witness.read_text().split()[0])
    [victim] = [node for node in cluster.of_role("worker") if slot in {child["pid"] for child in node["children"]}]
    os.kill(victim["pid"], signal.SIGKILL)
    assert cluster.value(task_id) == "done"
    assert len(witness.read_text().splitlines()) == 2, "the fault hit: it ran twice"
    return task_id, victim


def story(cluster: Cluster, task_id: str) -> list[dict[str, Any]]:
    return cluster.get(f"/v1/tasks/{task_id}/story").json()["events"]


def with_death(events: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The story, once the worker's death is in it: it is written down a moment later than what it caused."""
    return events if any(event["move"] == "worker_down" for event in events) else None


def test_the_story_names_the_death_the_requeue_and_the_second_attempt(cluster: Cluster, tmp_path: Path) -> None:
    port = int(cluster.url.rpartition(":")[2])
    with EventListener(port) as listener:
        assert listener.status == 200
        task_id, victim = run_once_killed(cluster, tmp_path / "witness")
        told = wait_until(lambda: with_death(story(cluster, task_id)), 5, "the death is on record")
        streamed = listener.until(5)

    assert [event["move"] for event in told] == ["submit", "claim", "worker_down", "lose_worker", "claim", "succeed"]
    assert cluster.get(f"/v1/tasks/{task_id}/story").json()["complete"]
    _, first, death, lost, second, end = told
    assert death["text"] == f"its worker {victim['path']} (process {victim['pid']}) died: signal:SIGKILL"
    assert first["worker"] == death["worker"] == lost["worker"] != second["worker"] == end["worker"]
    assert [event["attempt"] for event in told] == [0, 1, 1, 1, 2, 2]
    assert second["at"] - death["at"] < AGAIN_WITHIN_S
    assert [event["at"] for event in told] == sorted(event["at"] for event in told)
    moves = [event.data["move"] for event in streamed if event.data.get("task_id") == task_id]
    assert moves[:4] == ["submit", "claim", "lose_worker", "claim"], "a listener heard the same as it happened"
    assert any(e.data.get("pid") == victim["pid"] and e.data["event"] == "child.down" for e in streamed)


def test_the_command_tells_it_also_when_the_stream_has_forgotten(cluster: Cluster, tmp_path: Path) -> None:
    task_id, _ = run_once_killed(cluster, tmp_path / "witness")
    with redis.Redis.from_url(cluster.endpoints()["store"]) as client:
        client.xtrim(keys.EVENTS, maxlen=0, approximate=False)
    command = [sys.executable, "-m", "regrow.runtime.cli", "story", task_id, "--data-dir", str(cluster.data_dir)]

    said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    shown = said.stdout
    as_json = subprocess.run([*command, "--as-json"], capture_output=True, text=True, timeout=30, check=True).stdout

    lines = shown.splitlines()
    assert task_id in lines[0]
    assert "COMPLETED" in lines[0]
    assert [line.split()[2] for line in lines[1:]] == ["submit", "claim", "lose_worker", "claim", "succeed"]
    assert lines[1].split()[:2] == ["+0.000", "s"]
    assert "queued again" in lines[3]
    assert "kept no more" in said.stderr
    assert not json.loads(as_json)["complete"]
    assert [event["move"] for event in json.loads(as_json)["events"]] == [line.split()[2] for line in lines[1:]]


def test_a_dispatcher_that_is_killed_loses_nothing_that_happened_meanwhile(cluster: Cluster) -> None:
    worker = cluster.of_role("worker")[0]
    dispatcher = cluster.of_role("dispatcher")[0]
    with redis.Redis.from_url(cluster.endpoints()["store"]) as client:

        def events() -> list[dict[str, Any]]:
            return [json.loads(fields[b"event"]) for _, fields in client.xrange(keys.EVENTS) if b"event" in fields]

        def deaths() -> list[int]:
            return [event["pid"] for event in events() if event["event"] == "child.down"]

        os.kill(dispatcher["pid"], signal.SIGSTOP)  # it hears nothing any more, and is then killed for its silence
        os.kill(worker["pid"], signal.SIGKILL)
        stopped_at = time.monotonic()
        wait_until(lambda: {worker["pid"], dispatcher["pid"]} <= set(deaths()), 30, "both deaths are on record")

        assert time.monotonic() - stopped_at >= 2.0, "the fault hit: nobody wrote before the next dispatcher"
        lives = [(event["event"], event["path"], event["incarnation"]) for event in events()]
        assert len(lives) == len(set(lives)), "the next dispatcher was told everything again, and wrote it once"


def test_the_death_of_a_slot_is_an_event_with_its_worker_process_and_reason(cluster: Cluster) -> None:
    def leave() -> None:
        import os

        os._exit(3)

    before = {slot["pid"]: slot["path"] for slot in cluster.of_role("slot")}
    with EventListener(int(cluster.url.rpartition(":")[2])) as listener:
        assert listener.status == 200
        task_id = cluster.submit(cluster.register(leave))
        assert cluster.end_of(task_id)["error"]["kind"] == "quarantined"
        deaths = wait_until(lambda: deaths_of_slots(listener, 3), 20, "three slots died of it")

    assert {death["reason"] for death in deaths} == {"exit:3"}
    assert deaths[0]["path"] == before[deaths[0]["pid"]]


def deaths_of_slots(listener: EventListener, count: int) -> list[dict[str, Any]] | None:
    """As they were told, when there are so many."""
    listener.read(0.1)
    found = [told.data for told in listener.events() if told.data.get("event") == "slot.down"]
    return found if len(found) >= count else None


def test_a_fault_on_purpose_is_in_the_story_of_the_task_that_it_hit(cluster: Cluster, tmp_path: Path) -> None:
    task_id, victim = run_once_killed(cluster, tmp_path / "witness")
    fault = {"fault": "kill", "target": victim["path"], "phase": "injected"}
    [lost_at] = [event["at"] for event in story(cluster, task_id) if event["move"] == "lose_worker"]

    assert cluster.post("/v1/events/faults", fault | {"at": lost_at - 0.01}).status_code == 200

    told = [(event["move"], event["attempt"], event["worker"]) for event in story(cluster, task_id)]
    [(_, attempt, worker)] = [one for one in told if one[0] == "fault"]
    assert attempt == 1
    assert ("lose_worker", 1, worker) in told
    assert cluster.get("/v1/chaos").json()["allowed"]
    assert cluster.get("/v1/chaos").json()["tree"]


def test_an_unknown_task_has_no_story(cluster: Cluster) -> None:
    answer = cluster.get("/v1/tasks/00000000-0000-4000-8000-000000000000/story")

    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_task")
