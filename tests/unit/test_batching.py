import asyncio

import pytest

from regrow.gateway.batching import Batcher


class Store:
    """Answers each item by itself, doubled, when it is let."""

    def __init__(self):
        self.calls = []
        self.gate = asyncio.Event()

    async def carry(self, items):
        self.calls.append(list(items))
        await self.gate.wait()
        if "bad" in items:
            raise ConnectionError("no")
        return [item * 2 for item in items]


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_arrives_while_a_call_is_under_way_travels_together():
    async def scenario():
        store = Store()
        batcher = Batcher(store.carry)
        first = asyncio.create_task(batcher.do([1]))
        await turns()
        others = [asyncio.create_task(batcher.do([number, number])) for number in (2, 3, 4)]
        await turns()
        store.gate.set()
        return store.calls, [await first, *[await other for other in others]]

    calls, answers = asyncio.run(scenario())

    assert calls == [[1], [2, 2, 3, 3, 4, 4]]
    assert answers == [[2], [4, 4], [6, 6], [8, 8]]


def test_what_arrives_in_one_turn_travels_together():
    async def scenario():
        store = Store()
        store.gate.set()
        batcher = Batcher(store.carry)
        await asyncio.gather(*[batcher.do([number]) for number in range(10)])
        return store.calls

    assert asyncio.run(scenario()) == [list(range(10))]


def test_a_batch_ends_at_its_items_and_bytes_but_one_call_is_never_cut():
    async def scenario():
        store = Store()
        store.gate.set()
        batcher = Batcher(store.carry, max_items=3, max_bytes=10, weigh=lambda item: item)
        await asyncio.gather(*[batcher.do(items) for items in ([1, 1], [1], [1], [9], [5], [50], [1, 1, 1, 1])])
        return store.calls

    assert asyncio.run(scenario()) == [[1, 1, 1], [1, 9], [5], [50], [1, 1, 1, 1]]


def test_a_failed_batch_fails_for_those_in_it_and_for_nobody_else():
    async def scenario():
        store = Store()
        batcher = Batcher(store.carry)
        bad = [asyncio.create_task(batcher.do([item])) for item in ("good", "bad")]
        await turns()
        after = asyncio.create_task(batcher.do([3]))
        await turns()
        store.gate.set()
        return await asyncio.gather(*bad, return_exceptions=True), await after

    failed, after = asyncio.run(scenario())

    assert [type(error) for error in failed] == [ConnectionError, ConnectionError]
    assert after == [6]


def test_a_caller_that_goes_away_takes_nobody_along():
    async def scenario():
        store = Store()
        batcher = Batcher(store.carry)
        leaver, stayer = (asyncio.create_task(batcher.do([number])) for number in (1, 2))
        await turns()
        leaver.cancel()
        await turns()
        store.gate.set()
        return await stayer

    assert asyncio.run(scenario()) == [4]


@pytest.mark.parametrize("rounds", [1, 3])
def test_it_rests_and_starts_again(rounds):
    async def scenario():
        store = Store()
        store.gate.set()
        batcher = Batcher(store.carry)
        return [await batcher.do([number]) for number in range(rounds)] + [await batcher.do([])]

    assert asyncio.run(scenario()) == [[2 * number] for number in range(rounds)] + [[]]
