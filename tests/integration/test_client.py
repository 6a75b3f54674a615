"""The Python client over real HTTP: batches, futures, faults of the gateway, and the end."""

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, CancelledError, as_completed, wait
from typing import Any

import pytest

from regrow.gateway import transport
from regrow.gateway.answers import TaskRequest
from regrow.gateway.async_client import Session
from regrow.gateway.async_task import AsyncJob
from regrow.gateway.client import (
    AsyncClient,
    Client,
    ClientClosed,
    ClientError,
    Executor,
    GatewayUnavailable,
    NotPicklable,
    Refused,
    RemoteTraceback,
    SubmitUnknown,
    TaskFailed,
)
from regrow.runtime.errors import ConfigError
from support.library import shapes
from support.small_gateway import SmallGateway
from support.waiting import wait_until


def square(number: int) -> int:
    return number * number


def divide(one: float, by: float) -> float:
    return one / by


# Values and exceptions


def test_a_future_gives_the_value_and_knows_its_task(client: Client) -> None:
    future = client.submit(divide, 9, by=2)

    assert future.result(10) == 4.5
    assert client.status(future.task_id) == "COMPLETED"
    assert client.result(future.task_id, timeout=10) == 4.5


def test_a_task_raises_its_own_exception_with_the_remote_traceback(client: Client) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        client.submit(divide, 1, 0).result(10)

    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in divide" in str(caught.value.__cause__)


def test_an_exception_class_of_a_users_module_is_caught_as_such(client: Client) -> None:
    with pytest.raises(shapes.TooLargeError):
        client.submit(shapes.refuse, 9).result(10)


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt])
def test_a_task_cannot_end_the_program_that_waits_for_it(client: Client, ending: type[BaseException]) -> None:
    def end() -> None:
        raise ending

    with pytest.raises(TaskFailed) as caught:
        client.submit(end).result(10)

    assert (caught.value.kind, caught.value.type) == ("raised", ending.__name__)


def test_what_cannot_travel_is_refused_by_the_submitting_call(client: Client) -> None:
    with pytest.raises(NotPicklable):
        client.submit(square, threading.Lock())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a function or the id of a registered one is needed, not a int"):
        client.submit(4)  # type: ignore[call-overload]


def test_a_registered_function_is_called_by_its_id(client: Client) -> None:
    function_id = client.register(square)

    assert client.submit(function_id, 5).result(10) == 25
    assert client.map(function_id, [1, 2]) == [1, 4]


def test_an_unknown_function_or_task_is_refused(client: Client) -> None:
    with pytest.raises(Refused, match="unknown_function"):
        client.submit("4a9d0f6a-0000-4000-8000-000000000000", 5).result(10)
    with pytest.raises(Refused, match="no task 4a9d") as caught:
        client.status("4a9d0f6a-0000-4000-8000-000000000000")

    assert (caught.value.status, caught.value.reason) == (404, "unknown_task")


def test_the_result_of_a_task_may_come_too_late(gateway: SmallGateway, client: Client) -> None:
    gateway.is_holding = True
    future = client.submit(square, 3)
    wait_until(lambda: future.task_id, within=5, what="accepted")

    with pytest.raises(TimeoutError):
        client.result(future.task_id, timeout=0.05)

    gateway.release()
    assert client.result(future.task_id) == 9


def test_what_the_service_looks_like_can_be_asked(client: Client) -> None:
    assert client.workers() == [{"name": "w", "slots": 2}]
    assert client.tree()["role"] == "root"
    client.scale(3)


# Batches


def test_a_map_of_thousands_gives_every_value_in_order_in_few_calls(gateway: SmallGateway, client: Client) -> None:
    assert client.map(square, range(5000)) == [number * number for number in range(5000)]

    assert sum(gateway.batches) == 5000
    assert len(gateway.batches) <= 6
    assert gateway.calls["/v1/functions"] == 1
    assert gateway.calls["/v1/tasks/wait"] < 100


def test_submits_of_many_threads_share_calls(gateway: SmallGateway, client: Client) -> None:
    client.submit(square, 0).result(10)
    values: dict[int, int] = {}

    def work(start: int) -> None:
        futures = [client.submit(square, number) for number in range(start, start + 100)]
        values.update({start + offset: future.result(10) for offset, future in enumerate(futures)})

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 1000, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert values == {number: number * number for number in range(1000)}
    assert len(gateway.batches) < 200


def test_a_batch_is_bounded_by_bytes_and_a_large_payload_has_its_own(gateway: SmallGateway, client: Client) -> None:
    sizes = [10, 3_000_000, 3_000_000, 10_000_000, 10, 10]

    assert client.map(len, [bytes(size) for size in sizes]) == sizes

    assert gateway.batches == [2, 1, 1, 2]


def test_progress_is_shown_on_standard_error(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert client.map(square, range(20), progress=True) == [number * number for number in range(20)]

    shown = capsys.readouterr()
    assert "20/20" in shown.err
    assert shown.out == ""


def test_more_tasks_than_polls_can_name_are_all_heard_of(gateway: SmallGateway, client: Client) -> None:
    gateway.is_holding = True
    futures = [client.submit(square, number) for number in range(5500)]
    wait_until(lambda: futures[-1].task_id, within=10, what="all accepted")

    last = futures[-1].task_id
    gateway.release(lambda task_id: task_id == last)
    assert futures[-1].result(30) == 5499 * 5499

    gateway.release()
    assert [future.result(30) for future in futures] == [number * number for number in range(5500)]


def test_a_short_task_is_heard_of_while_long_ones_occupy_all_polls(gateway: SmallGateway, client: Client) -> None:
    gateway.is_holding = True
    long: list[Any] = []
    for number in range(12):
        long.append(client.submit(square, number))
        wait_until(lambda: long[-1].task_id, within=5, what="accepted")
    gateway.is_holding = False

    started_at = time.monotonic()
    assert client.submit(square, 3).result(10) == 9

    assert time.monotonic() - started_at < 2
    assert gateway.polls <= 4
    gateway.release()
    assert [future.result(10) for future in long] == [number * number for number in range(12)]


def test_a_wait_that_is_broken_off_before_it_has_begun_is_begun_again(gateway: SmallGateway, client: Client) -> None:
    gateway.is_holding = True
    ids = [client.submit(square, number) for number in range(8)]
    wait_until(lambda: all(future.task_id for future in ids), within=10, what="all accepted")

    async def ended() -> list[Any]:
        session = Session(gateway.url, 10.0)
        jobs = [AsyncJob("known", b"", TaskRequest("", b"", "")) for _ in ids]
        for future, job in zip(ids, jobs, strict=True):
            session.inbox.add([(future.task_id, job)])  # more polls than may be under way, before any has taken a step
        gateway.release()
        try:
            return await asyncio.wait_for(asyncio.gather(*(job.ended for job in jobs)), 10)
        finally:
            await session.close()

    assert asyncio.run(ended()) == [number * number for number in range(8)]


# Faults


def test_waits_outlive_a_restart_of_the_gateway(gateway: SmallGateway, client: Client) -> None:
    gateway.is_holding = True
    futures = [client.submit(square, number) for number in range(20)]
    wait_until(lambda: futures[-1].task_id and gateway.polls, within=5, what="waiting")

    gateway.stop()
    wait_until(lambda: not gateway.polls, within=5, what="cut off")
    gateway.start()
    gateway.release()

    assert [future.result(10) for future in futures] == [number * number for number in range(20)]


def test_a_submit_during_a_restart_is_sent_when_the_gateway_is_back(gateway: SmallGateway, client: Client) -> None:
    assert client.submit(square, 2).result(10) == 4
    gateway.stop()

    future = client.submit(square, 3)
    gateway.start()

    assert future.result(10) == 9


@pytest.mark.parametrize("fault", ["429", "503"])
def test_a_gateway_that_is_busy_is_asked_again(gateway: SmallGateway, client: Client, fault: str) -> None:
    gateway.faults["/v1/tasks"] = deque([fault, fault])
    gateway.faults["/v1/functions"] = deque([fault])

    assert client.submit(square, 3).result(10) == 9
    assert gateway.batches == [1]


def test_single_tasks_for_which_the_queue_is_full_are_sent_again(gateway: SmallGateway, client: Client) -> None:
    gateway.refusals.extend(["", "queue_full", "queue_full", ""])

    assert client.map(square, range(4)) == [0, 1, 4, 9]
    assert gateway.batches == [4, 2]


def test_a_queue_that_stays_full_ends_the_clients_patience(gateway: SmallGateway) -> None:
    gateway.refusals.extend(["queue_full"] * 1000)

    with Client(gateway.url, patience_s=0.2) as client, pytest.raises(GatewayUnavailable, match="its queue is full"):
        client.submit(square, 3).result(10)


def test_a_function_that_is_refused_fails_its_tasks_and_no_others(gateway: SmallGateway, client: Client) -> None:
    gateway.faults["/v1/functions"] = deque(["500"])

    with pytest.raises(Refused, match="500"):
        client.submit(square, 3).result(10)
    assert client.submit(square, 4).result(10) == 16


@pytest.mark.parametrize("path", ["/v1/functions", "/v1/tasks", "/v1/tasks/wait"])
def test_an_answer_that_is_none_of_a_gateway_fails_the_future(gateway: SmallGateway, client: Client, path: str) -> None:
    gateway.faults[path] = deque(["nonsense"])

    with pytest.raises(ClientError, match="gave an answer that cannot be read"):
        client.submit(square, 3).result(10)
    assert client.submit(square, 4).result(10) == 16


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/tasks/wait"])
def test_an_error_of_the_clients_own_making_fails_futures_and_leaves_none_hanging(
    client: Client, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    client.register(square)
    once = transport.Transport._once

    async def broken(self: Any, method: str, called: str, *rest: Any) -> bytes:
        if called == path:
            raise ValueError("a bug")
        return await once(self, method, called, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(transport.Transport, "_once", broken)
        with pytest.raises(ClientError, match="the client itself failed: ValueError: a bug"):
            client.submit(square, 3).result(10)

    assert client.submit(square, 4).result(10) == 16


@pytest.mark.parametrize("fault", ["drop", "late", "cut"])
def test_a_submit_whose_answer_was_lost_is_sent_again_and_is_one_task(
    gateway: SmallGateway, client: Client, fault: str
) -> None:
    client.register(square)
    gateway.faults["/v1/tasks"] = deque([fault, "drop", fault])

    futures = [client.submit(square, number) for number in range(3)]

    assert [future.result(10) for future in futures] == [0, 1, 4]
    assert gateway.calls["/v1/tasks"] >= 4
    assert len(gateway.tasks) == 3


def test_tasks_that_wait_for_a_full_queue_keep_their_keys(gateway: SmallGateway, client: Client) -> None:
    client.register(square)
    gateway.faults["/v1/tasks"] = deque(["", "drop"])
    gateway.refusals.extend(["queue_full"])

    assert client.submit(square, 3).result(10) == 9
    assert (gateway.calls["/v1/tasks"], len(gateway.tasks)) == (3, 1)


def test_equal_calls_are_tasks_of_their_own(gateway: SmallGateway, client: Client) -> None:
    assert client.map(square, [2] * 50) == [4] * 50
    assert len(gateway.tasks) == 50


@pytest.mark.parametrize("fault", ["cut", "late", "503"])
def test_a_submit_that_is_never_answered_is_unknown_when_patience_ends(gateway: SmallGateway, fault: str) -> None:
    with Client(gateway.url, patience_s=0.5) as client:
        client.register(square)
        gateway.faults["/v1/tasks"] = deque([fault] * 1000)

        with pytest.raises(SubmitUnknown, match=f"no good answer from {gateway.url} for 0.5 s"):
            client.submit(square, 3).result(10)

    assert gateway.calls["/v1/tasks"] > 1


def test_a_submit_that_was_refused_for_now_until_patience_ended_is_known_not_to_be_done(gateway: SmallGateway) -> None:
    with Client(gateway.url, patience_s=0.5) as client:
        client.register(square)
        gateway.faults["/v1/tasks"] = deque(["429"] * 1000)

        with pytest.raises(GatewayUnavailable, match="429"):
            client.submit(square, 3).result(10)


def test_waits_and_reads_are_repeated_when_their_answer_was_lost(gateway: SmallGateway, client: Client) -> None:
    gateway.faults["/v1/tasks/wait"] = deque(["drop", "cut"])
    gateway.faults["/v1/functions"] = deque(["drop"])
    gateway.faults["/v1/workers"] = deque(["cut"])

    assert client.submit(square, 3).result(10) == 9
    assert client.workers()


def test_patience_ends(gateway: SmallGateway) -> None:
    with Client(gateway.url, patience_s=0.3) as client:
        gateway.is_holding = True
        waiting = client.submit(square, 2)
        wait_until(lambda: waiting.task_id and gateway.polls, within=5, what="waiting")
        gateway.stop()

        with pytest.raises(GatewayUnavailable, match=f"from {gateway.url} for 0.3 s .* is the gateway running there?"):
            waiting.result(10)
        with pytest.raises(GatewayUnavailable):
            client.submit(square, 3).result(10)
        with pytest.raises(GatewayUnavailable):
            client.workers()
        gateway.start()


def test_a_refused_call_fails_its_tasks_and_no_others(gateway: SmallGateway, client: Client) -> None:
    client.register(square)
    gateway.faults["/v1/tasks"] = deque(["500"])

    with pytest.raises(Refused, match="500"):
        client.submit(square, 3).result(10)
    assert client.submit(square, 4).result(10) == 16


def test_a_function_that_the_gateway_has_lost_is_sent_again_once(gateway: SmallGateway, client: Client) -> None:
    client.submit(square, 1).result(10)
    gateway.functions.clear()

    assert client.map(square, range(100)) == [number * number for number in range(100)]
    assert gateway.calls["/v1/functions"] == 2

    gateway.refusals.extend(["unknown_function"] * 2)
    with pytest.raises(Refused, match="unknown_function"):
        client.submit(square, 2).result(10)
    assert client.submit(square, 3).result(10) == 9


def test_a_task_that_the_gateway_has_lost_fails(gateway: SmallGateway, client: Client) -> None:
    gateway.is_holding = True
    future = client.submit(square, 2)
    wait_until(lambda: future.task_id and gateway.polls, within=5, what="waiting")
    gateway.stop()
    gateway.tasks.clear()
    gateway.start()

    with pytest.raises(Refused, match="unknown_task"):
        future.result(10)


# Cancelling and closing


def test_what_has_not_been_sent_can_be_cancelled_and_what_has_been_cannot(gateway: SmallGateway) -> None:
    with Client(gateway.url, patience_s=5) as client:
        assert client.submit(square, 1).result(10) == 1
        gateway.stop()
        sent = client.submit(square, 2)
        wait_until(sent.running, within=5, what="being sent")
        unsent = client.submit(square, 3)

        assert unsent.cancel()
        assert not sent.cancel()

        gateway.start()
        assert sent.result(10) == 4
        with pytest.raises(CancelledError):
            unsent.result(10)
    assert len(gateway.tasks) == 2


def test_close_sends_what_was_submitted_and_lets_go_of_the_rest(gateway: SmallGateway) -> None:
    gateway.is_holding = True
    with Client(gateway.url) as client:
        futures = [client.submit(square, number) for number in range(1500)]

    assert len(gateway.tasks) == 1500
    with pytest.raises(ClientClosed, match="the task goes on"):
        futures[0].result(10)
    with pytest.raises(ClientClosed):
        client.submit(square, 1)
    client.close()


def test_a_call_under_way_in_another_thread_is_told_that_the_client_was_closed(gateway: SmallGateway) -> None:
    gateway.is_holding = True
    client = Client(gateway.url)
    future = client.submit(square, 3)
    wait_until(lambda: future.task_id, within=5, what="accepted")
    told: list[BaseException] = []

    def ask() -> None:
        try:
            client.result(future.task_id)
        except ClientClosed as error:
            told.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: gateway.calls[f"/v1/tasks/{future.task_id}"], within=5, what="asking")
    client.close()

    asking.join(10)
    assert told


def test_a_function_changes_at_the_gateway_when_it_is_registered_again(client: Client) -> None:
    factor = 2

    def scaled(number: int) -> int:
        return number * factor

    assert client.submit(scaled, 5).result(10) == 10
    factor = 3
    assert client.submit(scaled, 5).result(10) == 10

    client.register(scaled)
    assert client.submit(scaled, 5).result(10) == 15


def test_a_forgotten_client_ends_with_its_last_future(gateway: SmallGateway) -> None:
    def threads() -> int:
        return sum(thread.name == "regrow-client" for thread in threading.enumerate())

    gateway.is_holding = True
    future = Client(gateway.url).submit(square, 3)
    gc.collect()
    assert threads() == 1

    wait_until(lambda: future.task_id, within=5, what="accepted")
    gateway.release()
    assert future.result(10) == 9
    wait_until(lambda: gc.collect() >= 0 and not threads(), within=5, what="thread ended")


@pytest.mark.filterwarnings(
    "ignore:This process:DeprecationWarning"
)  # of forking with threads: just what is tried here
def test_a_client_refuses_to_work_in_a_forked_child(client: Client) -> None:
    client.register(square)
    child = os.fork()
    if not child:
        try:
            client.submit(square, 1)
        except ClientClosed:
            os._exit(0)
        os._exit(1)

    _, status = os.waitpid(child, 0)
    assert status == 0
    assert client.submit(square, 2).result(10) == 4


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://", "http://h/?a=1"])
def test_an_address_that_cannot_be_one_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConfigError, match=r"use one like http://127\.0\.0\.1:8000"):
        Client(url)


def test_a_script_that_just_ends_has_sent_what_it_submitted(gateway: SmallGateway) -> None:
    script = f"""
        from regrow.gateway.client import Client
        Client({gateway.url!r}).submit(print, "hello from the slot")
    """

    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
    wait_until(lambda: len(gateway.tasks) == 1, within=5, what="accepted")


# Executor


def test_an_executor_maps_in_order_and_takes_several_iterables(gateway: SmallGateway) -> None:
    with Executor(gateway.url) as executor:
        assert list(executor.map(divide, [4, 9, 8], [2, 3, 4])) == [2, 3, 2]


def test_as_completed_and_wait_take_its_futures(gateway: SmallGateway) -> None:
    gateway.is_holding = True
    with Executor(gateway.url) as executor:
        futures = [executor.submit(square, number) for number in range(10)]
        wait_until(lambda: futures[-1].task_id, within=5, what="accepted")

        gateway.release(lambda task_id: task_id == futures[4].task_id)
        done, pending = wait(futures, timeout=10, return_when=FIRST_COMPLETED)
        assert (done, len(pending)) == ({futures[4]}, 9)

        gateway.release()
        assert {future.result() for future in as_completed(futures, timeout=10)} == {n * n for n in range(10)}


def test_a_map_raises_timeout_error_and_the_functions_error(gateway: SmallGateway) -> None:
    gateway.is_holding = True
    with Executor(gateway.url) as executor:
        values = executor.map(square, [1, 2], timeout=0.05)
        with pytest.raises(TimeoutError):
            next(values)
        gateway.is_holding = False
        gateway.release()

        values = executor.map(divide, [1, 1], [1, 0])
        assert next(values) == 1
        with pytest.raises(ZeroDivisionError):
            next(values)


def test_shutdown_waits_for_what_was_submitted_and_takes_nothing_more(gateway: SmallGateway) -> None:
    gateway.is_holding = True
    executor = Executor(gateway.url)
    future = executor.submit(square, 3)
    wait_until(lambda: future.task_id, within=5, what="accepted")
    executor.shutdown(wait=False)
    assert not future.done()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(square, 4)

    gateway.release()
    executor.shutdown()

    assert future.done()
    assert future.result() == 9


def test_shutdown_cancels_what_has_not_been_sent_if_asked_to(gateway: SmallGateway) -> None:
    executor = Executor(gateway.url)
    executor.submit(square, 1).result(10)
    gateway.stop()
    sent = executor.submit(square, 2)
    wait_until(sent.running, within=5, what="being sent")
    unsent = executor.submit(square, 3)

    executor.shutdown(wait=False, cancel_futures=True)

    assert unsent.cancelled()
    gateway.start()
    assert sent.result(10) == 4
    executor.shutdown()


# AsyncClient


def test_an_async_submit_returns_when_accepted_and_its_task_can_be_awaited_twice(gateway: SmallGateway) -> None:
    async def main() -> None:
        async with AsyncClient(gateway.url) as client:
            task = await client.submit(divide, 1, by=4)
            assert (await client.task(task.task_id, wait_s=5)).is_final
            assert (await task, await task) == (0.25, 0.25)
            assert await client.status(task.task_id) == "COMPLETED"
            assert await client.result(task.task_id) == 0.25
            assert (await client.workers(), (await client.tree())["name"]) == ([{"name": "w", "slots": 2}], "root")
            await client.scale(2)

    asyncio.run(main())


def test_async_maps_and_gathered_submits_share_calls(gateway: SmallGateway) -> None:
    async def main() -> None:
        async with AsyncClient(gateway.url) as client:
            assert await client.map(square, range(2000)) == [number * number for number in range(2000)]
            tasks = await asyncio.gather(*(client.submit(square, number) for number in range(100)))
            assert await asyncio.gather(*tasks) == [number * number for number in range(100)]

    asyncio.run(main())
    assert gateway.batches == [1000, 1000, 100]


def test_async_tasks_raise_their_own_exceptions(gateway: SmallGateway) -> None:
    def stop() -> None:
        raise StopIteration(3)

    async def main() -> None:
        async with AsyncClient(gateway.url) as client:
            with pytest.raises(ZeroDivisionError):
                await (await client.submit(divide, 1, 0))
            with pytest.raises(ZeroDivisionError):
                await client.map(lambda number: 1 / number, [1, 0, 2])
            with pytest.raises(TaskFailed, match="StopIteration: 3"):
                await (await client.submit(stop))
            with pytest.raises(Refused):
                await client.submit("4a9d0f6a-0000-4000-8000-000000000000")

    asyncio.run(main())


def test_an_async_wait_can_be_given_up_without_its_task(gateway: SmallGateway) -> None:
    async def main() -> None:
        gateway.is_holding = True
        async with AsyncClient(gateway.url) as client:
            task = await client.submit(square, 3)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(task, 0.05)
            gateway.release()
            assert await task == 9

            gateway.is_holding = True
            task = await client.submit(square, 4)
        with pytest.raises(ClientClosed):
            await task

    asyncio.run(main())
