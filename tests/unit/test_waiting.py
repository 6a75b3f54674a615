import asyncio

from regrow.actors.astore import Reconnected
from regrow.gateway.waiting import Waiting


async def follow(waiting, *news):
    async def endings():
        for item in news:
            yield item

    await waiting.follow(endings())


def test_a_watch_reads_everything_at_first_and_then_what_is_hinted_at():
    async def scenario():
        waiting = Waiting()
        with waiting.watch(["a", "b", "c", "b"]) as watch:
            first = watch.take()
            await follow(waiting, ["b", "x"])
            return first, await watch.hinted(1), watch.take(), await watch.hinted(0.01)

    assert asyncio.run(scenario()) == (["a", "b", "c"], True, ["b"], False)


def test_what_was_seen_unfinished_is_not_read_again_until_it_is_hinted_at():
    async def scenario():
        waiting = Waiting()
        waiting.expect(["submitted"])
        with waiting.watch(["a", "b", "submitted"]) as watch:
            first = watch.take()
            waiting.saw_unfinished(watch, first)
        await follow(waiting, ["b"])
        with waiting.watch(["a", "b", "submitted"]) as again:
            return first, again.take()

    assert asyncio.run(scenario()) == (["a", "b"], ["b"])


def test_a_hint_that_overtakes_the_answer_of_a_read_is_the_newer_word():
    async def scenario():
        waiting = Waiting()
        with waiting.watch(["a"]) as watch:
            watch.take()
            await follow(waiting, ["a"])  # it ended while the read was on its way
            waiting.saw_unfinished(watch, ["a"])
            again = watch.take()
        with waiting.watch(["a"]) as other:
            return again, other.take()

    assert asyncio.run(scenario()) == (["a"], ["a"])


def test_a_task_that_ends_before_its_submit_is_answered_is_not_taken_for_unfinished():
    async def scenario():
        waiting = Waiting()
        waiting.expect(["a"])
        await follow(waiting, ["a"])
        with waiting.watch(["a"]) as watch:
            return watch.take()

    assert asyncio.run(scenario()) == ["a"]


def test_after_a_reconnect_nothing_is_known_and_all_is_read_again():
    async def scenario():
        waiting = Waiting()
        waiting.expect(["b"])
        with waiting.watch(["a", "b"]) as watch:
            watch.take()
            await follow(waiting, Reconnected())
            return watch.take()

    assert asyncio.run(scenario()) == ["a", "b"]


def test_a_release_wakes_all_and_a_closed_watch_leaves_nothing():
    async def scenario():
        waiting = Waiting()
        with waiting.watch(["a"]) as one, waiting.watch(["a", "b"]) as two:
            one.take(), two.take()
            waiting.release()
            woken = await one.hinted(1), await two.hinted(1), len(waiting)
        return woken, waiting.is_released, len(waiting)

    assert asyncio.run(scenario()) == ((True, True, 2), True, 0)


def test_who_waits_for_a_task_that_was_expected_in_vain_reads_it():
    async def scenario():
        waiting = Waiting()
        waiting.expect(["a"])  # submitted anew under its key; it may have ended long ago
        with waiting.watch(["a"]) as watch:
            expected = watch.take()
            waiting.forget(["a"])
            return expected, await watch.hinted(1), watch.take()

    assert asyncio.run(scenario()) == ([], True, ["a"])
