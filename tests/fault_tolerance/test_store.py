"""The store is killed, paused, cut off, flushed, full: nothing that was acknowledged is lost, and all goes on unaided.

What ``appendfsync`` promises, by what crashes:

===================  ===========================  ================================================================
crash of             always (the default)         everysec
===================  ===========================  ================================================================
any process but it   nothing is lost              nothing is lost
the server           nothing is lost              what it had acknowledged while a flush of the file was still pending
the machine          nothing is lost, if its      the last second or two
                     disks keep what they flushed
===================  ===========================  ================================================================

A crash of the machine is not tried here.
"""

import os
import resource
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
import redis

from support.cluster import Cluster, running, send
from support.load import Load, assert_all_ended_once, submit_all
from support.processes import is_alive
from support.waiting import wait_until
from support.witness import Witness

FLAGS = ("--workers", "2", "--slots", "2")
RATE_PER_S: Final = 60.0
WORKING_S: Final = 2.0  # promised: the store answers again -> the tree works
LOST_S: Final = 2.0  # promised with everysec: a killed server loses at most what was acknowledged so shortly before
ANSWER_S: Final = 11.0  # a submit is answered within this time, be it with 503
SLACK: Final = 5  # two loaded cores may take so many times as long
WORK_S: Final = 0.01
TORN_BYTES: Final = 40  # less than the last script's writes


@pytest.fixture
def witness(cluster: Cluster) -> Witness:
    wait_until(cluster.is_ready, 10, "the tree works")
    return Witness(cluster.data_dir / f"witness-{uuid.uuid4()}")


def loaded(cluster: Cluster, witness: Witness) -> Load:
    return Load(cluster, cluster.register(witness.work), RATE_PER_S, WORK_S)


def until_at_work(witness: Witness, more: int = 10) -> None:
    """Until so many more tasks have ended."""
    before = len(witness.ends())
    wait_until(lambda: len(witness.ends()) >= before + more, 30, "tasks run and end")


def server_pid(cluster: Cluster) -> int:
    return int(cluster.of_role("store")[0]["facts"]["server_pid"])


def assert_works_again(cluster: Cluster, witness: Witness, since: float) -> None:
    """A task that is submitted now is run soon after ``since``."""
    [number] = [max(witness.starts(), default=0) + 100_000]
    ids = submit_all(cluster, cluster.register(witness.work), range(number, number + 1))
    assert_all_ended_once(cluster, witness, ids)
    assert next(run.started for run in witness.runs() if run.number == number) - since < WORKING_S * SLACK


def test_a_server_killed_again_and_again_under_load_loses_nothing_acknowledged(
    cluster: Cluster, witness: Witness
) -> None:
    with loaded(cluster, witness) as load:
        for is_rewriting in (False, True, True):
            until_at_work(witness)
            pid = server_pid(cluster)
            if is_rewriting:
                with cluster.store() as client:
                    client.bgrewriteaof()
            send(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: not is_alive(pid), 5, "it is dead")
            wait_until(cluster.is_ready, 15, "it is back")
        until_at_work(witness)

    assert_all_ended_once(cluster, witness, load.acknowledged)
    assert not load.unknown, "the gateway answers whatever becomes of the store"
    assert set(load.refused) <= {503}
    starts = witness.starts()
    assert all(starts[number] == 1 for number in load.acknowledged.values()), "nothing that ran was run again"


@pytest.mark.parametrize("seconds", [5.0, pytest.param(30.0, marks=pytest.mark.slow)])
def test_a_paused_server_is_waited_for(cluster: Cluster, witness: Witness, seconds: float) -> None:
    pid = server_pid(cluster)
    with loaded(cluster, witness) as load, cluster.store() as client:
        until_at_work(witness)
        client.client_pause(int(seconds * 1000))
        paused_at = time.monotonic()
        wait_until(lambda: len(witness.ends()) == len(witness.starts()), 5, "what has started goes on to its end")
        ended = len(witness.ends())
        assert client.ping()
        over_at = time.monotonic()
        until_at_work(witness)

    assert over_at - paused_at > seconds - 0.5, "it was paused"
    assert ended < RATE_PER_S * (paused_at + seconds)
    assert_all_ended_once(cluster, witness, load.acknowledged)
    assert server_pid(cluster) == pid, "a pause is no reason to kill it"
    assert set(load.refusals) <= {(503, "1")}
    assert load.slowest_s < min(ANSWER_S, seconds) + SLACK, (
        "whoever submits is not kept waiting for the end of the pause"
    )
    assert_works_again(cluster, witness, time.monotonic())


@pytest.mark.parametrize("seconds", [6.0, pytest.param(30.0, marks=pytest.mark.slow)])
def test_connections_that_are_cut_every_200_ms_only_slow_it_down(
    cluster: Cluster, witness: Witness, seconds: float
) -> None:
    def cut(client: redis.Redis) -> None:
        for kind in ("normal", "pubsub"):
            client.client_kill_filter(_type=kind, skipme=True)

    with loaded(cluster, witness) as load, cluster.store() as client:
        until_at_work(witness)
        cuts = repeatedly(lambda: cut(client), 0.2, seconds)
        during = len(witness.ends())
        until_at_work(witness)

    assert cuts > seconds / 0.2 / SLACK
    assert during > RATE_PER_S * seconds / SLACK, "work went on meanwhile"
    assert_all_ended_once(cluster, witness, load.acknowledged)
    assert not load.unknown
    assert len(load.acknowledged) > RATE_PER_S * seconds / SLACK
    starts = witness.starts()
    assert all(starts[number] == 1 for number in load.acknowledged.values()), "a cut reply repeats no task"


def repeatedly(act: Callable[[], object], every_s: float, seconds: float) -> int:
    """Act again and again for so long; how often."""
    never, times, until = threading.Event(), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        act()
        times += 1
        never.wait(every_s)
    return times


def test_scripts_that_are_flushed_under_load_are_sent_again(cluster: Cluster, witness: Witness) -> None:
    with loaded(cluster, witness) as load, cluster.store() as client:
        until_at_work(witness)
        assert repeatedly(client.script_flush, 0.02, 2.0) > 10
        until_at_work(witness)

    assert_all_ended_once(cluster, witness, load.acknowledged)
    assert not load.refused
    assert not load.unknown
    assert max(witness.starts().values()) == 1


def test_at_the_memory_limit_submits_are_refused_for_now_and_what_runs_is_finished(
    cluster: Cluster, witness: Witness
) -> None:
    function_id = cluster.register(witness.work)
    load = loaded(cluster, witness)
    with cluster.store() as client:
        before = submit_all(cluster, function_id, range(100_000, 100_012), 0.3)
        wait_until(lambda: len(witness.at_work()) == 4, 20, "every slot is at work")
        client.config_set("maxmemory", 1)
        try:
            with load:
                wait_until(lambda: len(load.refusals) >= 3, 30, "submits are refused")
            refused_for = client.info("memory")["maxmemory"]
            assert_all_ended_once(cluster, witness, before, 30)
        finally:
            client.config_set("maxmemory", 0)
        raised_at = time.monotonic()

    assert refused_for == 1
    assert set(load.refusals) == {(503, "1")}
    assert not load.acknowledged, "the limit was below what is used already"
    assert_works_again(cluster, witness, raised_at)


@pytest.fixture(scope="module")
def everysec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("everysec"), "--durability", "everysec") as it:
        yield it


@pytest.mark.parametrize("role", ["worker", "dispatcher", "gateway"])
def test_with_everysec_a_crash_of_any_process_but_the_server_loses_nothing(everysec: Cluster, role: str) -> None:
    """The root's death, and that of the store's actor, is the server's death too."""
    witness = Witness(everysec.data_dir / f"witness-{uuid.uuid4()}")
    with loaded(everysec, witness) as load:
        until_at_work(witness)
        send(everysec.of_role(role)[0]["pid"], signal.SIGKILL)
        until_at_work(witness, 60)

    assert_all_ended_once(everysec, witness, load.acknowledged)


def test_with_everysec_a_killed_server_loses_the_last_moments_at_most_and_what_it_knows_ends(everysec: Cluster) -> None:
    witness = Witness(everysec.data_dir / f"witness-{uuid.uuid4()}")
    with loaded(everysec, witness) as load:
        until_at_work(witness, 60)
        pid = server_pid(everysec)
        send(pid, signal.SIGKILL)
        killed_at = time.monotonic()
        wait_until(lambda: not is_alive(pid), 5, "it is dead")
        wait_until(everysec.is_ready, 15, "it is back")
        until_at_work(witness)

    known = {task_id for task_id in load.acknowledged if everysec.get(f"/status/{task_id}").status_code == 200}
    lost = load.acknowledged.keys() - known
    assert all(killed_at - LOST_S < load.acknowledged_at[task_id] <= killed_at + SLACK for task_id in lost)
    assert_all_ended_once(everysec, witness, {task_id: load.acknowledged[task_id] for task_id in known})
    assert_works_again(everysec, witness, time.monotonic())


@pytest.mark.parametrize("durability", ["always", "everysec"])
def test_while_its_disk_is_full_submits_are_refused_and_when_there_is_room_all_goes_on(
    cluster: Cluster, everysec: Cluster, durability: str
) -> None:
    cluster = {"always": cluster, "everysec": everysec}[durability]
    witness = Witness(cluster.data_dir / f"witness-{uuid.uuid4()}")
    actor = cluster.of_role("store")[0]["pid"]
    with loaded(cluster, witness) as load:
        until_at_work(witness)
        with full_disk(cluster):
            wait_until(lambda: len(load.refusals) >= 3, 30, "submits are refused")
            wait_until(lambda: len(witness.ends()) == len(witness.starts()), 5, "what has started goes on to its end")
        until_at_work(witness)

    assert set(load.refusals) == {(503, "1")}
    assert_all_ended_once(cluster, witness, load.acknowledged)
    assert cluster.of_role("store")[0]["pid"] == actor, "starting it again and again would have ended the tree"


@contextmanager
def full_disk(cluster: Cluster) -> Iterator[None]:
    """The store's files cannot grow: the same errors as on a full disk, and nobody else meets them."""
    store = cluster.of_role("store")[0]
    pids = store["pid"], int(store["facts"]["server_pid"])
    limit = newest_file(cluster.data_dir).stat().st_size + 10_000
    before = [resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)) for pid in pids]
    try:
        yield
    finally:
        for pid, was in zip(pids, before, strict=True):
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, was)


def test_an_append_only_file_that_ends_in_a_torn_record_is_read_up_to_there(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "witness")
    first = Cluster(tmp_path / "data", "--workers", "2", "--slots", "2").wait_ready()
    try:
        ids = submit_all(first, first.register(witness.work), range(20), 0.2)
        wait_until(lambda: len(witness.ends()) >= 4, 20, "later records than those of the submits")
    finally:
        first.kill()
    wait_until(lambda: not witness.at_work(), 2, "the tree is gone")
    file = newest_file(tmp_path / "data")
    size = file.stat().st_size
    os.truncate(file, size - TORN_BYTES)

    with running(tmp_path / "data", "--workers", "2", "--slots", "2") as second:
        log = (tmp_path / "data" / "store" / "valkey.log").read_text()
        assert_all_ended_once(second, witness, ids)

    assert "runcat" in log, "the server has seen the torn end"
    assert max(witness.starts().values()) <= 2


def newest_file(data_dir: Path) -> Path:
    """The part of the append-only file that is being written."""
    return max((data_dir / "store" / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
