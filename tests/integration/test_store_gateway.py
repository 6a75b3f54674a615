"""The gateway's half of the store on a real server: functions, submits, reads, the register of dispatchers, and counts."""

import asyncio
import json
import uuid

import msgspec
import pytest

from regrow.actors import keys
from regrow.actors.astore import AsyncStore, Reconnected
from regrow.actors.readings import Counts
from regrow.actors.records import DispatcherRecord, Held, SubmitVerdict
from regrow.actors.store import Store
from regrow.actors.task import (
    MAX_LOST_WORKERS,
    FunctionId,
    FunctionRecord,
    Move,
    NewTask,
    State,
    TaskId,
    Verdict,
    WorkerId,
    WorkerRecord,
)
from regrow.runtime.errors import StoreError
from support.tasks import ask, claim, crash, digest_of, failure, given_back, lost, read, register, submit, success
from support.valkey import Valkey
from support.waiting import wait_until


def function(name: str, registered_at: float = 1.0) -> FunctionRecord:
    return FunctionRecord(
        FunctionId(str(uuid.uuid4())), name, "Y29kZQ==", digest_of(b"code"), 4, registered_at, modules=("json",)
    )


def put(server: Valkey, record: FunctionRecord) -> None:
    """Register it."""
    ask(server.url, lambda store: store.put_function(record, b"code"))


def dispatcher(name: str) -> DispatcherRecord:
    return DispatcherRecord(name, "host", 7, "push", "tcp://127.0.0.1:5555", 1.0)


def worker(name: str) -> WorkerRecord:
    return WorkerRecord(WorkerId(f"{name}@h/1"), name, "h", 8, "push", 2, 1, 1.0, "3.11", "0.4", dispatcher="a")


def silence(server: Valkey, name: str, seconds: float) -> None:
    """Make a dispatcher's last sign of life older, instead of waiting."""
    with server.client() as client:
        client.zincrby(keys.BEATS, -1000 * seconds, name)


def test_a_function_is_an_open_record_that_others_can_read(server: Valkey) -> None:
    record = function("f")

    ask(server.url, lambda store: store.put_function(record, b"code"))

    with server.client() as client:
        found = json.loads(client.get(f"function:{record.function_id}"))
    assert (found["name"], found["payload"], found["max_attempts"]) == ("f", "Y29kZQ==", 3)
    assert ask(server.url, lambda store: store.get_function(record.function_id)) == record
    assert ask(server.url, lambda store: store.get_function(FunctionId(str(uuid.uuid4())))) is None


def test_functions_are_listed_in_pages_oldest_first(server: Valkey) -> None:
    made = [function(f"f{n}", float(n)) for n in range(5)]
    for record in reversed(made):
        put(server, record)

    first = ask(server.url, lambda store: store.list_functions(2))
    rest = ask(server.url, lambda store: store.list_functions(10, after=first[-1].function_id))
    beyond = ask(server.url, lambda store: store.list_functions(10, after=FunctionId("no such id")))

    assert (first, rest, beyond) == (made[:2], made[2:], [])


def test_a_damaged_function_record_is_an_error_that_says_so(server: Valkey) -> None:
    with server.client() as client:
        client.set("function:x", b'{"name": 3}')

    with pytest.raises(StoreError, match="damaged"):
        ask(server.url, lambda store: store.get_function(FunctionId("x")))


def test_a_task_of_an_unknown_function_spoils_no_other(server: Valkey) -> None:
    known, unknown = register(server.url), FunctionId(str(uuid.uuid4()))
    tasks = [NewTask(TaskId(str(uuid.uuid4())), each, b"") for each in (known, unknown, known)]

    verdicts = ask(server.url, lambda store: store.submit(tasks, 100))

    assert verdicts == [SubmitVerdict.ACCEPTED, SubmitVerdict.UNKNOWN_FUNCTION, SubmitVerdict.ACCEPTED]
    found = ask(server.url, lambda store: store.read([task.task_id for task in tasks], with_result=False))
    assert [record and record.status for record in found] == [State.QUEUED, None, State.QUEUED]


def test_a_full_queue_takes_what_fits_and_refuses_the_rest(server: Valkey) -> None:
    known = register(server.url)
    tasks = [NewTask(TaskId(str(uuid.uuid4())), known, b"") for _ in range(3)]

    verdicts = ask(server.url, lambda store: store.submit(tasks, 2))

    assert verdicts == [SubmitVerdict.ACCEPTED, SubmitVerdict.ACCEPTED, SubmitVerdict.QUEUE_FULL]


def test_a_repeated_submit_submits_nothing_twice_even_to_a_full_queue(server: Valkey, store: Store) -> None:
    tasks = [NewTask(TaskId(str(uuid.uuid4())), register(server.url), b"params")]
    ask(server.url, lambda store: store.submit(tasks, 1))

    while_queued = ask(server.url, lambda store: store.submit(tasks, 1))
    [running] = claim(store, 5)
    while_running = ask(server.url, lambda store: store.submit(tasks, 1))
    store.settle("a", [success(running)])
    after_the_end = ask(server.url, lambda store: store.submit(tasks, 1))

    assert while_queued == while_running == after_the_end == [SubmitVerdict.REPEATED]
    assert claim(store, 5) == []
    assert read(server.url, running.task_id)[0].status is State.COMPLETED


def test_another_body_under_the_id_of_a_key_is_a_conflict_as_long_as_the_task_is_kept(
    server: Valkey, store: Store
) -> None:
    first = NewTask(TaskId(str(uuid.uuid4())), register(server.url), b"params", None, b"body")
    other = msgspec.structs.replace(first, params=b"others", body=b"another body")

    def offered(*tasks: NewTask) -> list[SubmitVerdict]:
        return ask(server.url, lambda store: store.submit(tasks, 1))

    in_one_batch = offered(first, first, other)
    [running] = claim(store, 5)
    while_running = offered(other, first)
    store.settle("a", [success(running)])
    after_the_end = offered(other, first)
    with server.client() as client:
        client.delete(keys.task(first.task_id))  # its retention is over
    forgotten = offered(other)

    assert in_one_batch == [SubmitVerdict.ACCEPTED, SubmitVerdict.REPEATED, SubmitVerdict.CONFLICT]
    assert while_running == after_the_end == [SubmitVerdict.CONFLICT, SubmitVerdict.REPEATED]
    assert running.params == b"params"
    assert forgotten == [SubmitVerdict.ACCEPTED]
    assert [task.params for task in claim(store, 5)] == [b"others"]


def test_results_are_read_only_when_asked_for(server: Valkey, store: Store) -> None:
    [task_id] = submit(server.url, register(server.url), b"")
    store.settle("a", [success(claim(store, 1)[0], b"large")])

    [short] = ask(server.url, lambda store: store.read([task_id], with_result=False))

    assert short is not None
    assert (short.status, short.value) == (State.COMPLETED, None)


def test_a_beat_registers_a_dispatcher_and_its_workers(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"", b"")

    pulse = store.beat(dispatcher("a"), [worker("w0"), worker("w1")])

    [found] = ask(server.url, AsyncStore.dispatchers)
    assert (pulse.queued, pulse.silent) == (2, [])
    assert (found.dispatcher, found.endpoint, found.is_alive) == ("a", "tcp://127.0.0.1:5555", True)
    assert found.last_beat > 1_700_000_000
    assert [one.name for one in ask(server.url, AsyncStore.workers)] == ["w0", "w1"]


def test_the_workers_of_a_silent_dispatcher_are_not_shown(server: Valkey, store: Store) -> None:
    store.beat(dispatcher("a"), [worker("w0")])

    silence(server, "a", 3.1)

    assert ask(server.url, AsyncStore.workers) == []
    assert [one.is_alive for one in ask(server.url, AsyncStore.dispatchers)] == [False]


def test_a_silent_dispatchers_leases_are_inherited_and_its_own_late_word_is_stale(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"1", b"2")
    tasks = claim(store, 2, dispatcher="old")
    silence(server, "old", 3.1)

    pulse = store.beat(dispatcher("new"), [])
    taken = store.inherit("new", "old")
    late = store.settle("old", [success(tasks[0])])
    verdicts = store.settle("new", [lost(one) for one in taken])

    assert pulse.silent == ["old"]
    expected = {Held(task.task_id, 1, task.worker, task.digest) for task in tasks}
    assert set(taken) == expected
    assert late == [Verdict.STALE]
    assert verdicts == [Verdict.REQUEUED] * 2
    assert store.beat(dispatcher("new"), []).silent == []


def test_inherited_leases_stay_with_the_heir_when_its_reply_was_lost(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"1")
    claim(store, 1, dispatcher="old")
    silence(server, "old", 3.1)

    taken = store.inherit("new", "old")

    assert store.inherit("new", "old") == []
    assert store.leases("new") == taken
    assert store.leases("old") == []


def test_more_leases_than_one_script_takes_are_all_inherited(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), *[b""] * 700)
    held = claim(store, 512, dispatcher="old") + claim(store, 512, dispatcher="old")
    silence(server, "old", 3.1)

    assert len(store.inherit("new", "old")) == len(held) == 700


def test_a_dispatcher_that_shows_life_keeps_its_leases(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"1")
    claim(store, 1, dispatcher="old")
    silence(server, "old", 3.1)
    store.beat(dispatcher("old"), [])

    assert store.inherit("new", "old") == []
    assert len(store.leases("old")) == 1
    assert store.inherit("old", "old") == []


def test_a_claim_is_a_sign_of_life(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"1")

    claim(store, 1, dispatcher="never beaten")

    assert store.inherit("new", "never beaten") == []


def test_the_loss_of_dispatchers_counts_against_no_task(server: Valkey, store: Store) -> None:
    [task_id] = submit(server.url, register(server.url), b"")

    for _ in range(12):
        claim(store, 1, dispatcher="old")
        silence(server, "old", 3.1)
        verdicts = store.settle("new", [lost(one) for one in store.inherit("new", "old")])
        assert verdicts == [Verdict.REQUEUED]

    assert read(server.url, task_id)[0].status is State.QUEUED


def test_the_loss_of_a_worker_counts_again_after_an_inheritance(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"")
    claim(store, 1, dispatcher="old")
    silence(server, "old", 3.1)
    store.settle("new", [lost(one) for one in store.inherit("new", "old")])

    verdicts = [store.settle("new", [lost(claim(store, 1, dispatcher="new")[0])])[0] for _ in range(MAX_LOST_WORKERS)]

    assert verdicts == [Verdict.REQUEUED] * (MAX_LOST_WORKERS - 1) + [Verdict.STORED]


def test_an_inherited_task_that_may_start_once_only_ends(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"", max_attempts=1)
    claim(store, 1, dispatcher="old")
    silence(server, "old", 3.1)

    assert store.settle("new", [lost(one) for one in store.inherit("new", "old")]) == [Verdict.STORED]


def test_a_farewell_gives_back_and_deregisters(server: Valkey, store: Store) -> None:
    ids = submit(server.url, register(server.url), b"1", b"2")
    store.beat(dispatcher("a"), [worker("w0")])
    claim(store, 2)

    store.farewell("a")

    assert [record.status for record in read(server.url, *ids)] == [State.QUEUED] * 2
    assert ask(server.url, AsyncStore.dispatchers) == []
    assert ask(server.url, AsyncStore.workers) == []


def test_a_farewell_leaves_tasks_that_may_start_once_only_to_the_next_who_can_judge(
    server: Valkey, store: Store
) -> None:
    [task_id] = submit(server.url, register(server.url), b"1", max_attempts=1)
    claim(store, 1)

    store.farewell("a")

    assert read(server.url, task_id)[0].status is State.RUNNING
    assert store.beat(dispatcher("b"), []).silent == ["a"]


def test_a_long_silent_dispatcher_without_leases_is_forgotten(server: Valkey, store: Store) -> None:
    store.beat(dispatcher("a"), [])
    silence(server, "a", 61)

    store.beat(dispatcher("b"), [])

    assert [one.dispatcher for one in ask(server.url, AsyncStore.dispatchers)] == ["b"]


def test_everything_is_counted(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), *[b""] * 9)
    tasks = claim(store, 6)
    settlements = [success(tasks[0]), failure(tasks[1]), crash(tasks[2]), lost(tasks[3]), given_back(tasks[4])]
    store.settle("a", settlements)
    store.settle("a", [success(tasks[3])])

    counts = ask(server.url, AsyncStore.counts)

    assert counts == Counts(
        queued=6,
        scheduled=0,
        running=1,
        submitted=9,
        completed=1,
        failed={"raised": 1},
        requeued={Move.CRASH: 1, Move.LOSE_WORKER: 1, Move.GIVE_BACK: 1},
        stale_results=1,
        vanished=0,
    )


def test_an_ending_is_heard_and_a_reconnect_is_marked(server: Valkey, store: Store) -> None:
    ids = submit(server.url, register(server.url), b"1", b"2")

    async def listen() -> list[object]:
        listening = AsyncStore.connect(server.url)
        endings = listening.endings()
        heard: list[object] = [await anext(endings)]
        store.settle("a", [success(task) for task in claim(store, 2)])
        heard.append(await anext(endings))
        with server.client() as client:
            client.client_kill_filter(_type="pubsub")
        heard.append(await anext(endings))
        await endings.aclose()
        await listening.close()
        return heard

    assert asyncio.run(listen()) == [Reconnected(), ids, Reconnected()]


def test_a_cancelled_listener_leaves_no_connection(server: Valkey) -> None:
    async def listen() -> None:
        listening = AsyncStore.connect(server.url)
        endings = listening.endings()
        await anext(endings)
        waiting = asyncio.ensure_future(anext(endings))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await endings.aclose()
        await listening.close()

    asyncio.run(listen())

    def subscribers() -> int:
        with server.client() as client:
            return int(dict(client.pubsub_numsub(keys.DONE))[keys.DONE.encode()])

    wait_until(lambda: subscribers() == 0, within=2, what="nobody listens any more")


def test_many_calls_at_once_share_few_connections(server: Valkey) -> None:
    function_id = register(server.url)

    async def many() -> int:
        store = AsyncStore.connect(server.url)
        await asyncio.gather(*[store.submit([NewTask(TaskId(str(n)), function_id, b"")], 1000) for n in range(200)])
        with server.client() as client:
            connections = len(client.client_list())
        await store.close()
        return connections

    assert asyncio.run(many()) <= 16 + 1
