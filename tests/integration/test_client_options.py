"""The Python client: terms of functions, options of tasks, and cancelling."""

import asyncio
import itertools
import threading
from concurrent.futures import CancelledError, wait
from typing import Any

import pytest

from regrow.gateway.client import (
    AsyncClient,
    Client,
    Executor,
    Limits,
    Refused,
    Retry,
    TaskCancelled,
    TaskFailed,
    TaskFuture,
)
from support.library import shapes
from support.small_gateway import SmallGateway
from support.waiting import wait_until


class Flaky(Exception):
    """A class of this program's own."""


def square(number: int) -> int:
    return number * number


def accepted(*waiting: TaskFuture[Any]) -> None:
    wait_until(lambda: all(future.task_id for future in waiting), within=5, what="accepted")


# Terms


def test_a_function_is_registered_with_its_terms_and_used_like_itself(gateway: SmallGateway, client: Client) -> None:
    limited = client.function(
        square,
        limits=Limits(wall_s=30, memory_bytes=2**30),
        retry=Retry(count=3, retry_on=(OSError, "Timeout"), dont_retry=FileNotFoundError),
        max_attempts=5,
        ttl_s=3600,
    )

    assert client.submit(limited, 3).result(10) == 9
    assert client.map(limited, [4, 5]) == [16, 25]

    (terms,) = gateway.terms.values()
    assert terms == {
        "limits": {"wall_s": 30, "memory_bytes": 2**30},
        "retry": {
            "count": 3, "backoff_s": 1.0, "factor": 2.0, "max_backoff_s": 300.0, "jitter": 0.2,
            "retry_on": ["OSError", "Timeout"], "dont_retry": ["FileNotFoundError"],
        },
        "max_attempts": 5,
        "ttl_s": 3600,
    }  # fmt: skip


def test_the_same_code_under_other_terms_is_another_function(gateway: SmallGateway, client: Client) -> None:
    many = [client.function(square, max_attempts=count) for count in (1, 2, 1)]

    values = [client.submit(each, 2).result(10) for each in (square, *many)]

    assert values == [4] * 4
    assert sorted(str(terms) for terms in gateway.terms.values()) == [
        "{'max_attempts': 1}",
        "{'max_attempts': 2}",
        "{}",
    ]


def test_registering_with_terms_holds_for_later_uses_and_gives_an_id_of_its_own(
    gateway: SmallGateway, client: Client
) -> None:
    plain = client.submit(square, 2)
    assert plain.result(10) == 4
    function_id = client.register(square, max_attempts=1)
    later = client.submit(square, 3)
    assert later.result(10) == 9

    assert gateway.terms[function_id] == {"max_attempts": 1}
    assert gateway.tasks[later.task_id]["function_id"] == function_id
    assert gateway.tasks[plain.task_id]["function_id"] != function_id
    assert client.register(client.function(square, max_attempts=1)) == function_id


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (OSError, ("OSError",)),
        ("requests.Timeout", ("requests.Timeout",)),
        ((KeyError, shapes.TooLargeError), ("KeyError", "support.library.shapes.TooLargeError")),
        ([Flaky], (f"{Flaky.__module__}.Flaky",)),
    ],
)
def test_exceptions_are_named_by_class_or_text_alone_or_many(
    gateway: SmallGateway, client: Client, given: Any, names: tuple[str, ...]
) -> None:
    client.register(square, retry=Retry(count=1, retry_on=given))

    (terms,) = gateway.terms.values()
    assert tuple(terms["retry"]["retry_on"]) == names


def test_what_is_no_term_option_or_exception_is_refused_at_once(client: Client) -> None:
    with pytest.warns(UserWarning, match="retry has no effect with max_attempts=1"):
        client.function(square, retry=Retry(count=1), max_attempts=1)
    with pytest.raises(TypeError, match="no such term of a function: retries"):
        client.function(square, retries=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no such option of a task: deadline"):
        client.options(deadline=3).submit(square, 3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="names exception classes, and <class 'int'> is none"):
        client.function(square, retry=Retry(count=1, retry_on=int))  # type: ignore[arg-type]


# Options


def test_a_task_is_sent_with_its_options(gateway: SmallGateway, client: Client) -> None:
    options = {"delay_s": 0.5, "expires_s": 2.0, "deadline_s": 5.0, "max_attempts": 1}
    asked = client.options(delay_s=0.5, expires_s=2, deadline_s=5, max_attempts=1, limits=Limits(cpu_s=1))

    futures = [asked.submit(square, 3), client.submit(square, 4)]

    assert [future.result(10) for future in futures] == [9, 16]
    assert gateway.options[futures[0].task_id] == options | {"limits": {"cpu_s": 1}}
    assert gateway.options[futures[1].task_id] == {}


def test_a_key_of_ones_own_is_one_task_and_of_a_map_one_for_each_item(gateway: SmallGateway, client: Client) -> None:
    keyed = client.options(idempotency_key="order 7")

    futures = [keyed.submit(square, 3) for _ in range(2000)]
    assert [future.result(10) for future in futures] == [9] * 2000
    assert len(gateway.tasks) == 1

    for _ in range(2):
        assert keyed.map(square, range(10)) == [number * number for number in range(10)]
    assert len(gateway.tasks) == 11
    with Executor(gateway.url) as executor:
        assert list(executor.options(idempotency_key="order 7").map(square, range(10))) == [n * n for n in range(10)]
    assert len(gateway.tasks) == 11


def test_an_executor_and_an_async_client_take_terms_and_options_too(gateway: SmallGateway) -> None:
    with Executor(gateway.url) as executor:
        once = executor.function(square, max_attempts=1)
        future = executor.options(deadline_s=5).submit(once, 3)
        assert future.result(10) == 9
        assert list(executor.options(delay_s=1).map(once, [1, 2])) == [1, 4]

    async def main() -> None:
        async with AsyncClient(gateway.url) as client:
            task = await client.options(deadline_s=5).submit(client.function(square, max_attempts=1), 3)
            assert await task == 9
            assert await client.options(delay_s=1).map(square, [1, 2]) == [1, 4]
            await client.register(square, ttl_s=5)

    asyncio.run(main())
    assert [str(terms) for terms in gateway.terms.values()] == ["{'max_attempts': 1}"] * 2 + ["{}", "{'ttl_s': 5}"]
    assert [str(options) for options in gateway.options.values()] == [
        "{'deadline_s': 5}", "{'delay_s': 1}", "{'delay_s': 1}",
    ] * 2  # fmt: skip


def test_an_executor_with_options_is_the_same_executor(gateway: SmallGateway) -> None:
    executor = Executor(gateway.url)
    other = executor.options(deadline_s=5)
    future = other.submit(square, 3)

    executor.shutdown()

    assert future.result(0) == 9, "it has been waited for"
    for each in (executor, other):
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            each.submit(square, 4)


# Cancelling


def test_a_task_that_was_sent_is_cancelled_by_the_service(gateway: SmallGateway, client: Client) -> None:
    gateway.is_holding = True
    future = client.submit(square, 3)
    accepted(future)

    assert not future.cancel(), "as PEP 3148 has it"
    future.cancel_task()

    with pytest.raises(CancelledError):
        future.result(10)
    with pytest.raises(TaskFailed, match="cancelled") as caught:
        future.result(0)
    assert isinstance(caught.value, TaskCancelled)
    assert (caught.value.kind, caught.value.task_id) == ("cancelled", future.task_id)
    assert (future.cancelled(), future.done()) == (True, True)
    with pytest.raises(CancelledError):
        client.result(future.task_id)


def test_cancelling_reaches_a_task_that_is_not_sent_or_just_being_sent_or_has_ended(
    gateway: SmallGateway, client: Client
) -> None:
    ended = client.submit(square, 1)
    assert ended.result(10) == 1
    gateway.stop()
    gateway.is_holding = True
    sent = client.submit(square, 2)
    wait_until(sent.running, within=5, what="being sent")
    unsent = client.submit(square, 3)

    for future in (ended, sent, unsent):
        future.cancel_task()
        future.cancel_task()
    gateway.start()

    assert unsent.cancelled()
    with pytest.raises(TaskCancelled):
        sent.result(10)
    assert (ended.result(0), ended.cancelled()) == (1, False)
    assert len(gateway.tasks) == 2


def test_a_thousand_futures_are_cancelled_in_few_calls(gateway: SmallGateway, client: Client) -> None:
    gateway.is_holding = True
    futures = [client.submit(square, number) for number in range(1000)]
    accepted(*futures)

    for future in futures:
        future.cancel_task()

    done, _ = wait(futures, timeout=20)
    assert all(future.cancelled() for future in done)
    assert len(done) == 1000
    assert gateway.calls["/v1/tasks/cancel"] < 100


def test_a_future_that_was_cancelled_while_the_client_closes_is_cancelled_all_the_same(gateway: SmallGateway) -> None:
    gateway.is_holding = True
    client = Client(gateway.url)
    accepted(client.submit(square, 1))
    gateway.stop()
    future = client.submit(square, 2)
    wait_until(future.running, within=5, what="being sent")
    future.cancel_task()
    closing = threading.Thread(target=client.close)
    closing.start()
    gateway.start()
    closing.join(20)

    assert gateway.tasks[future.task_id]["error"]["kind"] == "cancelled"


def test_tasks_are_cancelled_by_id_and_their_fates_told(gateway: SmallGateway, client: Client) -> None:
    gateway.is_holding = True
    held = client.submit(square, 2)
    accepted(held)
    gateway.is_holding = False
    ended = client.submit(square, 3)
    ended.result(10)
    stranger = "00000000-0000-4000-8000-000000000000"

    answer = client.cancel(held.task_id, ended.task_id, stranger)

    assert (answer.cancelled, answer.ended, answer.unknown) == ([held.task_id], [ended.task_id], [stranger])


def test_shutdown_cancels_what_no_worker_has_if_asked_to(gateway: SmallGateway) -> None:
    gateway.is_holding = True
    executor = Executor(gateway.url)
    futures = [executor.submit(square, number) for number in range(5)]
    accepted(*futures)

    executor.shutdown(cancel_futures=True)

    assert all(future.cancelled() for future in futures)
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(0)


def test_an_async_task_is_cancelled_by_the_service(gateway: SmallGateway) -> None:
    async def main() -> None:
        gateway.is_holding = True
        async with AsyncClient(gateway.url) as client:
            task = await client.submit(square, 3)
            assert await task.cancel(only_queued=True)
            with pytest.raises(TaskCancelled):
                await asyncio.wait_for(task, 10)
            assert task.done()

            gateway.is_holding = False
            task = await client.submit(square, 4)
            assert await task == 16
            assert not await task.cancel()
            answer = await client.cancel(task.task_id)
            assert answer.ended == [task.task_id]

    asyncio.run(main())


def test_a_refused_option_fails_its_future_alone(gateway: SmallGateway, client: Client) -> None:
    client.register(square)
    gateway.refusals.extend(["invalid"])

    bad, good = client.options(deadline_s=-1).submit(square, 1), client.submit(square, 2)

    with pytest.raises(Refused, match="invalid"):
        bad.result(10)
    assert good.result(10) == 4


def test_a_map_with_options_of_many_batches_keeps_its_order(gateway: SmallGateway, client: Client) -> None:
    assert client.options(max_attempts=1).map(square, range(2500)) == [number * number for number in range(2500)]
    assert set(itertools.chain(*gateway.options.values())) == {"max_attempts"}
