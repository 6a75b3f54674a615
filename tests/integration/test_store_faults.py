"""The store when the server or the connection fails: calls happen once, errors say what they mean, nothing acknowledged is lost."""

import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from regrow.actors import keys
from regrow.actors.astore import AsyncStore
from regrow.actors.claims import Share
from regrow.actors.facts import facts_of
from regrow.actors.store import Store
from regrow.actors.task import NewTask, State, TaskId, Verdict, WorkerId
from regrow.actors.wakes import Wakes
from regrow.runtime.errors import ConfigError, StoreError, StoreUnavailable
from support.cutter import Cutter, cut_replies
from support.tasks import ask, claim, read, register, submit, success
from support.valkey import DURABLE, Valkey, valkey_server
from support.waiting import wait_until

A = WorkerId("a@h/1")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    with valkey_server(tmp_path, **DURABLE) as server:
        yield server


@pytest.fixture
def store(server: Valkey) -> Iterator[Store]:
    store = Store.connect(server.url, timeout_s=1.0)
    yield store
    store.close()


@pytest.fixture
def cutter(server: Valkey) -> Iterator[Cutter]:
    with cut_replies(server.socket) as cutter:
        yield cutter


def test_a_script_whose_reply_was_cut_has_run_once_and_repeating_it_gives_its_answer(
    server: Valkey, store: Store, cutter: Cutter
) -> None:
    submit(server.url, register(server.url), b"1", b"2", b"3")
    cut = Store.connect(f"unix://{cutter.server_address}")
    arguments: tuple[Any, ...] = ("a", "claim-1", [Share(A, 2, 0.0)], {}, 1000)

    with pytest.raises(StoreUnavailable):
        cut.claim(*arguments)
    runs = cutter.scripts
    cut.close()

    assert runs == 1
    assert len(store.leases("a")) == 2
    assert [task.params for task in store.claim(*arguments).tasks] == [b"1", b"2"]
    assert len(store.leases("a")) == 2


def test_an_asynchronous_script_whose_reply_was_cut_has_run_once(server: Valkey, cutter: Cutter) -> None:
    tasks = [NewTask(TaskId(str(uuid.uuid4())), register(server.url), b"")]

    with pytest.raises(StoreUnavailable):
        ask(f"unix://{cutter.server_address}", lambda store: store.submit(tasks, 10))

    assert cutter.scripts == 1
    assert ask(server.url, AsyncStore.counts).queued == 1


def test_a_kill_right_after_an_acknowledged_submit_or_settle_loses_nothing(server: Valkey, store: Store) -> None:
    function = register(server.url)
    ids = submit(server.url, function, *[b"x" * 1000] * 200)
    server.end(signal.SIGKILL)
    server.start()

    tasks = claim(store, 200)
    store.settle("a", [success(task) for task in tasks[:50]])
    server.end(signal.SIGKILL)
    server.start()

    states = [record.status for record in read(server.url, *ids)]
    assert states == [State.COMPLETED] * 50 + [State.RUNNING] * 150
    assert len(store.leases("a")) == 150


def test_a_server_that_is_away_is_unavailable_and_the_same_store_works_when_it_is_back(
    server: Valkey, store: Store
) -> None:
    submit(server.url, register(server.url), b"")
    server.end()
    with pytest.raises(StoreUnavailable):
        store.ping()
    with pytest.raises(StoreUnavailable):
        ask(server.url, AsyncStore.ping)

    server.start()

    assert len(claim(store, 1)) == 1


def test_a_server_that_hangs_is_unavailable_after_the_timeout(server: Valkey, store: Store) -> None:
    server.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable):
            store.ping()
    finally:
        server.send_signal(signal.SIGCONT)

    store.ping()


def test_at_the_memory_limit_nothing_new_is_taken_but_what_is_there_can_be_finished(
    server: Valkey, store: Store
) -> None:
    function = register(server.url)
    [task_id] = submit(server.url, function, b"x" * 1000)
    with server.client() as client:
        client.config_set("maxmemory", 1)

    with pytest.raises(StoreUnavailable, match="memory limit"):
        submit(server.url, function, b"")
    with pytest.raises(StoreUnavailable, match="memory limit"):
        register(server.url)
    store.begin("a", "series")
    [task] = store.claim("a", "series-1", [Share(WorkerId("w"), 1, 0.0)], {}, 1 << 20).tasks
    verdicts = store.settle("a", [success(task)])

    assert verdicts == [Verdict.STORED]
    assert read(server.url, task_id)[0].status is State.COMPLETED


def test_a_script_that_hogs_the_server_makes_it_unavailable_not_broken(server: Valkey, store: Store) -> None:
    with server.client() as client, server.client() as other:
        client.config_set("lua-time-limit", 50)
        hog = threading.Thread(target=lambda: hogged(client))
        hog.start()
        try:
            wait_until(lambda: refusal(store), within=5, what="the store is busy")
        finally:
            other.script_kill()
            hog.join()


def hogged(client: redis.Redis) -> None:
    """Run a script without an end, until it is killed."""
    with pytest.raises(redis.ResponseError, match="killed"):
        client.eval("while true do end", 0)


def refusal(store: Store) -> str:
    """Why the store is unavailable, "" if it is not."""
    try:
        store.ping()
    except StoreUnavailable as error:
        return str(error)
    return ""


def test_a_wrong_type_in_the_store_is_an_error_that_no_retry_would_heal(server: Valkey, store: Store) -> None:
    with server.client() as client:
        client.set(keys.QUEUE, "not a list")

    with pytest.raises(StoreError, match="WRONGTYPE") as caught:
        claim(store, 1)

    assert not isinstance(caught.value, StoreUnavailable)


def test_a_wrong_password_is_told_as_such(server: Valkey, store: Store) -> None:
    with server.client() as client:
        client.config_set("requirepass", "secret")
        client.client_kill_filter(_type="normal", skipme=True)

    with pytest.raises(StoreError, match="check user and password") as caught:
        Store.connect(server.url).ping()

    assert not isinstance(caught.value, StoreUnavailable)


def test_a_url_that_is_none_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match="redis-url"):
        Store.connect("http://localhost")
    with pytest.raises(ConfigError, match="redis-url"):
        AsyncStore.connect("http://localhost")


def test_a_durable_server_is_recognised(server: Valkey, store: Store) -> None:
    facts = store.check()

    assert facts.server in ("valkey", "redis")
    assert facts.eviction == "noeviction"
    assert "what was acknowledged is on disk" in facts.durability
    assert ask(server.url, AsyncStore.check) == facts


def test_a_server_that_evicts_is_refused_with_the_fix(server: Valkey, store: Store) -> None:
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")

    with pytest.raises(ConfigError, match="CONFIG SET maxmemory-policy noeviction"):
        store.check()
    with pytest.raises(ConfigError, match="CONFIG SET maxmemory-policy noeviction"):
        ask(server.url, AsyncStore.check)


def test_where_config_is_forbidden_the_facts_say_what_is_not_known(server: Valkey) -> None:
    with server.client() as client:
        client.acl_setuser(
            "managed", enabled=True, passwords=["+pw"], categories=["+@all"], commands=["-config"], keys=["*"]
        )
    store = Store.connect(f"unix://managed:pw@{server.socket}")

    facts = store.check()
    store.close()

    assert facts.eviction == "noeviction"
    assert "appendfsync unknown" in facts.durability


@pytest.mark.parametrize(
    ("config", "words", "is_durable"),
    [
        ({"appendonly": "yes", "appendfsync": "everysec"}, "the last second or two", True),
        ({"appendonly": "yes", "appendfsync": "no"}, "a crash of the machine", True),
        ({"appendonly": "no", "save": ""}, "loses every task", False),
        ({"appendonly": "no", "save": "3600 1"}, "since the last snapshot", False),
        ({}, "since its last snapshot, if it makes any", False),
    ],
)
def test_what_a_servers_settings_promise_is_one_honest_sentence(
    config: dict[str, str], words: str, is_durable: bool
) -> None:
    facts = facts_of({"redis_version": "7.0.15"}, [config])

    assert words in facts.durability
    assert facts.is_durable is is_durable


def test_an_old_redis_is_refused_and_any_valkey_taken() -> None:
    with pytest.raises(ConfigError, match=r"6\.0\.16: use Redis 6\.2"):
        facts_of({"redis_version": "6.0.16"}, [])

    assert facts_of({"redis_version": "6.2.0"}, []).version == "6.2.0"
    assert facts_of({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, []).server == "valkey"


def each(wakes: Wakes, act: Callable[[], None]) -> None:
    """Act on every wake, until they end."""
    for _ in wakes:
        act()


def test_wakes_come_with_hints_and_after_each_reconnect_and_end_when_closed(server: Valkey, store: Store) -> None:
    function = register(server.url)
    wakes = store.wakes()
    woken = threading.Semaphore(0)
    listener = threading.Thread(target=lambda: each(wakes, woken.release))
    listener.start()

    try:
        assert woken.acquire(timeout=5), "after the first connect"
        submit(server.url, function, b"")
        assert woken.acquire(timeout=5), "after a submit"
        with server.client() as client:
            client.client_kill_filter(_type="pubsub")
        assert woken.acquire(timeout=5), "after a cut connection"
        server.end()
        server.start()
        assert woken.acquire(timeout=5), "after a restart of the server"
    finally:
        wakes.close()
        listener.join(timeout=5)

    assert not listener.is_alive()
    wakes.close()


def test_closed_wakes_end_at_once_while_nothing_happens(store: Store) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    wakes = store.wakes()
    connected = threading.Event()
    listener = threading.Thread(target=lambda: each(wakes, connected.set))
    listener.start()
    assert connected.wait(timeout=5)

    wakes.close()
    listener.join(timeout=1)

    assert not listener.is_alive()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
