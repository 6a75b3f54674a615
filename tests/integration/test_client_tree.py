"""The Python client against a whole tree: real slots, which have nothing of the program that submits."""

import asyncio
import signal
from collections.abc import Iterator
from concurrent.futures import as_completed
from contextlib import ExitStack
from pathlib import Path

import pytest

from regrow.gateway.client import AsyncClient, Client, Executor, RemoteTraceback, TaskFailed
from support.cluster import Cluster, running, send
from support.cutter import cut_replies
from support.gateway import gateway
from support.library import shapes
from support.valkey import DURABLE, valkey_server


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("client"), "--workers", "2", "--slots", "1") as started:
        yield started


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with Client(cluster.url) as opened:
        yield opened


def importable(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def slow_square(number: int) -> int:
    import time

    time.sleep(0.05)
    return number * number


def test_functions_of_importable_modules_run_where_those_are_not(client: Client) -> None:
    assert not client.submit(importable, "support").result(30)

    assert client.submit(shapes.scaled, 4).result(30) == 24
    assert client.submit(shapes.shouted, "hey").result(30) == "HEY!"
    assert client.submit(shapes.fibonacci, 40).result(30) == 102334155
    assert client.submit(shapes.moved, shapes.Point(1, 2)).result(30) == shapes.Point(4, 6)
    assert client.submit(shapes.other, shapes.Colour.RED).result(30) is shapes.Colour.BLUE


def test_errors_come_back_as_they_were_raised(client: Client) -> None:
    with pytest.raises(shapes.TooLargeError) as caught:
        client.submit(shapes.refuse, 9).result(30)

    assert (caught.value.size, caught.value.limit) == (9, 3)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in refuse" in str(caught.value.__cause__)
    with pytest.raises(ZeroDivisionError):
        client.submit(lambda: 1 / 0).result(30)


def test_five_thousand_tasks_of_a_map_give_every_value(client: Client) -> None:
    assert client.map(shapes.double, range(5000)) == [2 * number for number in range(5000)]


def test_ten_megabytes_travel_both_ways(client: Client) -> None:
    data = bytes(range(256)) * 40_000

    assert client.submit(bytes.__add__, data, b"!").result(60) == data + b"!"


def test_executor_and_async_client_work_on_it_too(cluster: Cluster) -> None:
    with Executor(cluster.url) as executor:
        futures = [executor.submit(shapes.double, number) for number in range(20)]
        assert sorted(future.result() for future in as_completed(futures, timeout=30)) == list(range(0, 40, 2))
        assert list(executor.map(pow, [2, 3], [3, 2])) == [8, 9]

    async def main() -> list[int]:
        async with AsyncClient(cluster.url) as client:
            return await client.map(shapes.double, range(100))

    assert asyncio.run(main()) == list(range(0, 200, 2))


def test_the_tree_and_its_workers_are_shown(client: Client) -> None:
    assert client.tree()["role"] == "root"
    assert {worker["name"] for worker in client.workers()} == {"worker-0", "worker-1"}


def note(witness: str, number: int) -> int:
    with Path(witness).open("a") as file:
        file.write(f"{number}\n")
    return number


def test_a_call_whose_submit_was_carried_out_but_answered_503_runs_once(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    witness = tmp_path / "witness"
    with ExitStack() as stack:
        server = stack.enter_context(valkey_server(tmp_path / "store", **DURABLE))
        flags = ("--workers", "1", "--slots", "1", "--redis-url", server.url)
        stack.enter_context(running(tmp_path / "data", *flags))
        cutter = stack.enter_context(cut_replies(server.socket, cuts=10))
        door = stack.enter_context(gateway(f"unix://{cutter.server_address}"))
        client = stack.enter_context(Client(door.url))

        futures = [client.submit(note, str(witness), number) for number in range(20)]

        assert [future.result(30) for future in futures] == list(range(20))
        assert cutter.scripts == 10, "two calls of the client were answered 503, and a third was asked twice again"
    assert sorted(map(int, witness.read_text().split())) == list(range(20))


def die() -> None:
    import os

    os._exit(3)


def test_futures_outlive_their_slots_and_a_gateway_that_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, "--workers", "2", "--slots", "1") as cluster, Client(cluster.url) as client:
        with pytest.raises(TaskFailed) as caught:
            client.submit(die).result(60)
        assert (caught.value.kind, caught.value.attempts) == ("quarantined", 3)

        futures = [client.submit(slow_square, number) for number in range(40)]
        assert futures[0].result(30) == 0
        (gateway,) = cluster.of_role("gateway")
        send(gateway["pid"], signal.SIGKILL)

        assert [future.result(60) for future in futures] == [number * number for number in range(40)]
        assert client.submit(slow_square, 3).result(30) == 9
