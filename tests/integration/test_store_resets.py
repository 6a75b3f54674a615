"""Connections to the store that are reset at any moment, and commands that arrive late: the store is away, and nothing else."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from regrow.actors import keys
from regrow.actors.astore import AsyncStore, Reconnected
from regrow.actors.claims import Share
from regrow.actors.store import Store
from regrow.actors.task import WorkerId
from regrow.chaos.link_fault import Reset
from regrow.chaos.proxy import Proxy
from regrow.runtime.errors import StoreUnavailable
from support.tasks import register, submit
from support.valkey import DURABLE, Valkey, valkey_server

A = WorkerId("a@h/1")
ROUNDS = 8
FOLLOWERS = 40  # each meets a reset at another step of its connection's life


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    with valkey_server(tmp_path, **DURABLE) as server:
        yield server


def test_in_the_gateways_loop_a_reset_connection_is_an_absence_and_the_news_go_on(server: Valkey) -> None:
    with Proxy(server.url) as proxy:
        uvloop.run(survive(proxy))


async def survive(proxy: Proxy) -> None:
    store = AsyncStore.connect(f"redis://127.0.0.1:{proxy.port}/0")
    news: list[asyncio.Queue[object]] = [asyncio.Queue() for _ in range(FOLLOWERS)]

    async def follow(queue: asyncio.Queue[object]) -> None:
        async for item in store.endings():
            queue.put_nowait(item)

    following = [asyncio.create_task(follow(queue)) for queue in news]
    for _ in range(ROUNDS):
        assert {await asyncio.wait_for(queue.get(), 10) for queue in news} == {Reconnected()}
        await asyncio.gather(
            *(store.ping() for _ in range(3)), return_exceptions=True
        )  # may meet those that were reset
        await asyncio.gather(*(store.ping() for _ in range(3)))
        await asyncio.to_thread(proxy.apply, Reset())
        for _ in range(8):
            with pytest.raises(StoreUnavailable):
                await store.ping()
            await asyncio.sleep(0.02)
        await asyncio.to_thread(proxy.heal)
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    await store.close()


def test_a_claim_that_arrives_after_a_later_one_takes_nothing(server: Valkey) -> None:
    store = Store.connect(server.url)
    function = register(server.url)
    shares = [Share(A, 1, 0.0)]
    ids = submit(server.url, function, b"1")
    assert [task.task_id for task in store.claim("d", "token-9", shares, {}, 1000).tasks] == ids
    assert store.claim("d", "token-10", shares, {}, 1000).tasks == [], (
        "it takes nothing, and is the newest all the same"
    )
    ids += submit(server.url, function, b"2", b"3")

    late = store.claim("d", "token-9", shares, {}, 1000)  # its connection was given up, and delivered after all

    assert late.tasks == []
    assert late.left == 2
    assert [lease.task_id for lease in store.leases("d")] == ids[:1]
    [task] = store.claim("d", "token-11", shares, {}, 1000).tasks
    assert task.task_id == ids[1]
    assert store.claim("d", "token-11", shares, {}, 1000).tasks == [task], "and the newest one may be repeated"
    assert store.claim("d", "another-1", shares, {}, 1000).tasks[0].task_id == ids[2], "a new incarnation begins anew"
    store.close()


def test_a_claim_of_a_former_incarnation_that_arrives_after_the_recovery_takes_nothing(server: Valkey) -> None:
    former, store = Store.connect(server.url), Store.connect(server.url)
    ids = submit(server.url, register(server.url), b"1", b"2", b"3")
    shares = [Share(A, 1, 0.0)]
    former.begin("d", "former")
    former.claim("d", "former-1", shares, {}, 1000)

    store.begin("d", "present")
    recovered = [lease.task_id for lease in store.leases("d")]
    late = [former.claim("d", "former-2", shares, {}, 1000), former.claim("d", "former-1", shares, {}, 1000)]

    assert recovered == ids[:1], "what it had claimed by then is found"
    assert [(claim.tasks, claim.left) for claim in late] == [([], 2), ([], 2)], "and more it does not get"
    assert [task.task_id for task in store.claim("d", "present-1", shares, {}, 1000).tasks] == ids[1:2]
    assert former.claim("d", "former-3", shares, {}, 1000).tasks == []
    store.begin("d", "present")  # after the store was away
    assert [task.task_id for task in store.claim("d", "present-1", shares, {}, 1000).tasks] == ids[1:2], "repeated"
    assert {lease.task_id for lease in store.leases("d")} == set(ids[:2])
    former.close()
    store.close()


def test_an_inheritance_that_a_former_incarnation_asked_for_and_that_arrives_late_takes_nothing(server: Valkey) -> None:
    former, store = Store.connect(server.url), Store.connect(server.url)
    [task_id] = submit(server.url, register(server.url), b"1")
    store.claim("silent", "silent-1", [Share(A, 1, 0.0)], {}, 1000)
    with server.client() as client:
        client.zadd(keys.BEATS, {"silent": 0})
    former.begin("d", "former")
    store.begin("d", "present")

    assert former.inherit("d", "silent") == []
    assert [held.task_id for held in store.inherit("d", "silent")] == [task_id]
    former.close()
    store.close()
