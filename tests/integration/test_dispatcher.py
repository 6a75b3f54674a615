"""The dispatcher with a real store and a real socket; only the workers are played by the tests."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from regrow.actors import wire
from regrow.actors.astore import AsyncStore
from regrow.actors.claims import Share
from regrow.actors.store import Store
from regrow.actors.task import State, TaskId, TaskRecord, WorkerId
from regrow.actors.wire import Lease, Mode, TaskToRun
from support.lone_dispatcher import LoneDispatcher, ScriptedWorker, lone_dispatcher
from support.tasks import ask, digest_of, read, register, submit
from support.valkey import DURABLE, Valkey, valkey_server
from support.waiting import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    with valkey_server(tmp_path, **DURABLE) as server:
        yield server


@pytest.fixture
def dispatcher(server: Valkey, tmp_path: Path) -> Iterator[LoneDispatcher]:
    with lone_dispatcher(server.url, tmp_path) as dispatcher:
        yield dispatcher


@pytest.fixture
def worker(dispatcher: LoneDispatcher) -> Iterator[ScriptedWorker]:
    with ScriptedWorker(dispatcher.arguments.endpoint) as worker:
        worker.hello()
        worker.hear(wire.Welcome)
        yield worker


def is_over(url: str, *ids: TaskId) -> list[TaskRecord]:
    """All of them, once all have ended."""
    records = read(url, *ids)
    return records if all(record.status in (State.COMPLETED, State.FAILED) for record in records) else []


def leases(tasks: list[TaskToRun]) -> list[Lease]:
    return [Lease(task.task_id, task.attempt) for task in tasks]


def counter(server: Valkey, name: str) -> int:
    with server.client() as client:
        return int(client.hget("{regrow}:counters", name) or 0)


def test_a_task_travels_to_a_worker_and_its_outcome_to_the_store(server: Valkey, worker: ScriptedWorker) -> None:
    function = register(server.url, b"code")
    [task_id] = submit(server.url, function, b"params")

    [task] = worker.tasks(1)
    worker.say(wire.NeedCode([task.digest]))
    code = worker.hear(wire.Code)
    worker.finish([task])
    ack = worker.hear(wire.Ack)

    assert (task.task_id, task.attempt, task.params) == (task_id, 1, b"params")
    assert code.functions == {digest_of(b"code"): b"code"}
    assert ack.leases == [Lease(task_id, 1)]
    [record] = read(server.url, task_id)
    assert (record.status, record.value) == (State.COMPLETED, b"params")
    assert [attempt.worker for attempt in record.attempts] == ["w"]


def test_equally_fast_workers_run_equally_many_tasks(server: Valkey, dispatcher: LoneDispatcher) -> None:
    submit(server.url, register(server.url), *[b"p"] * 600)
    workers = [ScriptedWorker(dispatcher.arguments.endpoint, f"w{number}") for number in range(4)]
    backlog: dict[ScriptedWorker, list[TaskToRun]] = {worker: [] for worker in workers}
    ran = dict.fromkeys(workers, 0)

    for worker in workers:
        worker.hello()
    deadline = time.monotonic() + 20
    while sum(ran.values()) < 600 and time.monotonic() < deadline:
        for worker in workers:
            worker.is_silent(0.001)
            backlog[worker] += [task for run in worker.inbox if isinstance(run, wire.Run) for task in run.tasks]
            worker.inbox.clear()
            ended, backlog[worker] = backlog[worker][:2], backlog[worker][2:]
            ran[worker] += len(ended)
            if ended:
                worker.finish(ended, ran_s=0.002)
    for worker in workers:
        worker.__exit__()

    counts = list(ran.values())
    assert sum(counts) == 600
    assert sum(counts) ** 2 / (4 * sum(count * count for count in counts)) > 0.95, counts


def test_a_pull_worker_gets_what_it_grants_and_no_more(server: Valkey, dispatcher: LoneDispatcher) -> None:
    submit(server.url, register(server.url), b"1", b"2", b"3")
    with ScriptedWorker(dispatcher.arguments.endpoint, slots=4, mode=Mode.PULL) as worker:
        worker.hello()
        worker.hear(wire.Welcome)
        assert worker.is_silent(0.2)

        worker.say(wire.Grant(2))

        assert [task.params for task in worker.tasks(2)] == [b"1", b"2"]
        assert worker.is_silent(0.2)


def test_a_silent_worker_is_lost_three_seconds_after_its_last_beat(server: Valkey, dispatcher: LoneDispatcher) -> None:
    [task_id] = submit(server.url, register(server.url), b"p")
    endpoint = dispatcher.arguments.endpoint
    with ScriptedWorker(endpoint, "mute") as mute, ScriptedWorker(endpoint, "well") as well:
        mute.hello()
        mute.tasks(1)
        mute.say(wire.Beat([0]))
        mute.hear(wire.Reflect)
        began = time.monotonic()
        well.hello()
        well.live(2.5)

        [task] = well.tasks(1)
        took_s = time.monotonic() - began
        well.finish([task])
        well.hear(wire.Ack)

        assert 2.8 < took_s < 3.5
        assert (task.task_id, task.attempt) == (task_id, 2)
        mute.say(wire.Beat([0]))
        mute.hear(wire.WhoAreYou)
        mute.hello(held=[Lease(task_id, 1)])
        assert mute.hear(wire.Drop).leases == [Lease(task_id, 1)]


def test_a_late_outcome_of_a_lost_worker_is_refused_counted_and_acknowledged(
    server: Valkey, dispatcher: LoneDispatcher
) -> None:
    [task_id] = submit(server.url, register(server.url), b"p")
    endpoint = dispatcher.arguments.endpoint
    with ScriptedWorker(endpoint, "old") as old, ScriptedWorker(endpoint, "new") as new:
        old.hello()
        first = old.tasks(1)
        old.say(wire.Leaving(is_final=True, undone=leases(first)))
        new.hello()
        second = new.tasks(1)
        new.finish(second)
        new.hear(wire.Ack)

        old.finish(first)

        assert old.hear(wire.Ack).leases == [Lease(task_id, 1)]
        assert counter(server, "stale_results_total") == 1
        assert [attempt.outcome for attempt in read(server.url, task_id)[0].attempts] == ["worker_lost", "completed"]


def test_unstarted_work_is_called_back_for_an_idle_worker(server: Valkey, dispatcher: LoneDispatcher) -> None:
    function = register(server.url)
    submit(server.url, function, b"0")
    endpoint = dispatcher.arguments.endpoint
    with ScriptedWorker(endpoint, "busy", slots=1) as busy, ScriptedWorker(endpoint, "idle", slots=1) as idle:
        busy.hello()
        busy.finish(busy.tasks(1), ran_s=0.001)
        busy.hear(wire.Ack)
        submit(server.url, function, b"1", b"2", b"3")
        tasks = busy.tasks(3)
        idle.hello()

        recall = busy.hear(wire.Recall)
        busy.say(wire.GaveBack(leases(tasks[-recall.count :])))

        [moved] = idle.tasks(1)
        assert recall.count == 1
        assert (moved.task_id, moved.attempt) == (tasks[2].task_id, 2)


def test_a_restarted_dispatcher_adopts_what_its_workers_hold(
    server: Valkey, dispatcher: LoneDispatcher, worker: ScriptedWorker
) -> None:
    [running, ended] = submit(server.url, register(server.url), b"1", b"2")
    tasks = worker.tasks(2)

    dispatcher.end()
    dispatcher.start()
    worker.hello(held=[Lease(running, 1)], done=[Lease(ended, 1)])
    worker.hear(wire.Welcome)
    worker.finish(tasks)

    wait_until(lambda: is_over(server.url, running, ended), within=10, what="both tasks have ended")
    assert [len(record.attempts) for record in read(server.url, running, ended)] == [1, 1]
    assert counter(server, "requeued:lose_worker") == 0


def test_what_no_worker_holds_runs_again_one_window_after_a_restart(
    server: Valkey, dispatcher: LoneDispatcher, worker: ScriptedWorker
) -> None:
    [gone, once] = (
        submit(server.url, register(server.url), b"1"),
        submit(server.url, register(server.url), b"2", max_attempts=1),
    )
    worker.tasks(2)

    dispatcher.end()
    dispatcher.start()
    with ScriptedWorker(dispatcher.arguments.endpoint, "other") as other:
        other.hello()
        other.hear(wire.Welcome)
        other.live(2.5)
        again = other.tasks(1)

        assert [task.task_id for task in again] == gone
        [record] = is_over(server.url, *once)
        assert record.failure is not None
        assert record.failure.kind == "worker_lost"


def test_a_former_incarnation_that_begins_late_does_not_lock_its_successor_out(
    server: Valkey, worker: ScriptedWorker
) -> None:
    function = register(server.url)
    submit(server.url, function, b"1")
    running = worker.tasks(1)

    former = Store.connect(server.url)
    former.begin("dispatcher", "dispatcher/former")  # it was on its way when its sender died
    former.close()
    [last] = submit(server.url, function, b"2")
    worker.finish(running)

    assert [task.task_id for task in worker.tasks(1)] == [last]


def test_a_claim_of_a_former_incarnation_that_comes_late_takes_no_task_away(
    server: Valkey, worker: ScriptedWorker
) -> None:
    function = register(server.url)
    submit(server.url, function, b"1", b"2")
    running = worker.tasks(2)
    [last] = submit(server.url, function, b"3")

    former = Store.connect(server.url)
    share = Share(WorkerId("w"), 2, 0.0)
    former.claim("dispatcher", "dispatcher/former-7", [share], {}, 1 << 20)  # it was on its way when its sender died
    former.close()
    worker.finish(running)

    assert [task.task_id for task in worker.tasks(1)] == [last]


def test_outcomes_wait_for_a_store_that_is_away_and_are_acknowledged_when_it_is_back(
    server: Valkey, dispatcher: LoneDispatcher, worker: ScriptedWorker
) -> None:
    [task_id] = submit(server.url, register(server.url), b"p")
    tasks = worker.tasks(1)
    server.end()

    worker.finish(tasks)
    worker.say(wire.Beat([]))

    worker.hear(wire.Reflect)
    wait_until(lambda: dispatcher.saw("store.lost"), within=5, what="the dispatcher misses the store")
    assert not [message for message in worker.inbox if isinstance(message, wire.Ack)]
    server.start()
    assert worker.hear(wire.Ack).leases == [Lease(task_id, 1)]
    assert read(server.url, task_id)[0].status is State.COMPLETED


def test_what_is_submitted_while_nobody_listens_is_found(server: Valkey, tmp_path: Path) -> None:
    submit(server.url, register(server.url), b"p")

    with lone_dispatcher(server.url, tmp_path) as dispatcher, ScriptedWorker(dispatcher.arguments.endpoint) as worker:
        worker.hello()

        assert worker.tasks(1)[0].params == b"p"


def test_workers_are_listed_in_the_store(server: Valkey, worker: ScriptedWorker) -> None:
    [record] = wait_until(lambda: ask(server.url, lambda store: store.workers()), within=3, what="the worker is listed")

    assert (record.worker_id, record.slots, record.pid, record.dispatcher) == ("w", 2, os.getpid(), "dispatcher")
    assert abs(record.last_beat - time.time()) < 5
    [listed] = ask(server.url, lambda store: store.dispatchers())
    assert listed.is_alive


def test_damaged_frames_are_counted_where_everybody_can_see(server: Valkey, worker: ScriptedWorker) -> None:
    for _ in range(3):
        worker.send_frame(b"no message")

    wait_until(lambda: ask(server.url, AsyncStore.counts).damaged_frames == 3, within=5, what="all three are counted")


def test_a_stopping_dispatcher_waits_for_running_tasks_and_takes_its_leave(
    server: Valkey, dispatcher: LoneDispatcher, worker: ScriptedWorker
) -> None:
    [task_id] = submit(server.url, register(server.url), b"p")
    tasks = worker.tasks(1)
    assert dispatcher.process is not None

    dispatcher.process.send_signal(signal.SIGTERM)
    submit(server.url, register(server.url), b"later")
    assert worker.is_silent(0.3)
    worker.finish(tasks)
    code = dispatcher.process.wait(timeout=5)

    assert code == 0
    assert read(server.url, task_id)[0].status is State.COMPLETED
    assert ask(server.url, lambda store: store.dispatchers()) == []


def test_a_store_that_may_throw_tasks_away_is_refused_with_the_fix(tmp_path: Path) -> None:
    with (
        valkey_server(tmp_path, maxmemory_policy="allkeys-lru") as server,
        lone_dispatcher(server.url, tmp_path) as dispatcher,
    ):
        assert dispatcher.process is not None

        assert dispatcher.process.wait(timeout=10) != 0

        assert "noeviction" in dispatcher.log.read_text()


def test_a_damaged_frame_harms_nobody(server: Valkey, worker: ScriptedWorker) -> None:
    worker._dealer.send(b"\xc1 no msgpack")
    worker.say(wire.Beat([]))

    worker.hear(wire.Reflect)
