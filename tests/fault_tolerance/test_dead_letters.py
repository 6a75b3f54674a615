"""Tasks on which regrow gave up, from outside: listed, shown, queued again once cured, thrown away; and no trace of anything for ever."""

import json
import signal
from concurrent.futures import wait
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
import requests

from regrow.gateway.client import AsyncClient, Client, Refused, Retry, TaskFailed
from support.cluster import Cluster, running
from support.command import complaint, regrow
from support.limits import needs_limits
from support.misbehaving import die, die_unless, fail_until, note, starts
from support.waiting import wait_until

FLAGS = ("--workers", "1", "--slots", "2")
STRANGER = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def client(client: Client) -> Client:
    """The same, and nothing is dead yet."""
    client.dead_letters.purge()
    return client


class Grave(NamedTuple):
    """Tasks that died for want of a cure."""

    ids: list[str]
    cure: Path
    witness: Path


@pytest.fixture
def grave(client: Client, tmp_path: Path) -> Grave:
    """Three tasks that have died, in no order."""
    fatal = client.function(die_unless, max_attempts=1)
    witness, cure = tmp_path / "witness", tmp_path / "cure"
    futures = [client.submit(fatal, str(witness), f"task-{number}", str(cure)) for number in range(3)]
    wait(futures, 30)
    assert all(isinstance(future.exception(), TaskFailed) for future in futures)
    return Grave([future.task_id for future in futures], cure, witness)


def delete(url: str) -> requests.Response:
    return requests.delete(url, timeout=30)


# By REST


def test_letters_are_listed_page_by_page_and_shown(cluster: Cluster, grave: Grave) -> None:
    first = cluster.get("/v1/dead-letters?limit=2").json()
    second = cluster.get(f"/v1/dead-letters?limit=2&after={first['next']}").json()

    found = first["dead_letters"] + second["dead_letters"]
    assert sorted(letter["task_id"] for letter in found) == sorted(grave.ids)
    assert second["next"] is None
    assert {(letter["attempts"], letter["error"]["kind"]) for letter in found} == {(1, "crashed")}
    assert cluster.get(f"/v1/dead-letters/{grave.ids[0]}").json() == cluster.task(grave.ids[0])


def test_a_letter_that_is_queued_again_is_a_new_task_with_the_same_call(cluster: Cluster, grave: Grave) -> None:
    dead = grave.ids[1]
    before = cluster.task(dead)
    grave.cure.touch()

    answers = [cluster.post(f"/v1/dead-letters/{dead}/requeue", {}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json(), "however often it is asked for"
    assert cluster.value(answers[0].json()["task_id"]) == "task-1"
    assert len(starts(grave.witness, "task-1")) == 2
    assert cluster.task(dead) == before, "what has failed has failed"
    assert cluster.get(f"/v1/dead-letters/{dead}").json()["code"] == "unknown_letter"


def test_a_requeued_task_that_dies_again_is_a_letter_again(cluster: Cluster, client: Client, grave: Grave) -> None:
    again = client.dead_letters.requeue(grave.ids[0])

    with pytest.raises(TaskFailed, match="crashed"):
        client.result(again, timeout=30)

    assert again in [letter.task_id for letter in client.dead_letters.list()]
    grave.cure.touch()
    assert cluster.value(client.dead_letters.requeue(again)) == "task-0"
    assert len(starts(grave.witness, "task-0")) == 3


def test_letters_are_thrown_away_and_their_tasks_stay_failed(cluster: Cluster, client: Client, grave: Grave) -> None:
    url = f"{cluster.url}/v1/dead-letters"

    assert delete(f"{url}/{grave.ids[0]}").json() == {"purged": 1}
    again = delete(f"{url}/{grave.ids[0]}")
    assert (again.status_code, again.json()["code"]) == (404, "unknown_letter")
    assert delete(url).json() == {"purged": 2}

    assert client.dead_letters.list() == []
    assert {cluster.task(task_id)["status"] for task_id in grave.ids} == {"FAILED"}
    with pytest.raises(Refused, match="unknown_letter"):
        client.dead_letters.requeue(grave.ids[0])


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("?limit=0", "limit: Input should be greater than or equal to 1"),
        ("?limit=1001", "limit: Input should be less than or equal to 1000"),
        ("?after=7", "after: Input should be a valid UUID"),
        ("/7", "task_id: Input should be a valid UUID"),
    ],
)
def test_what_makes_no_sense_is_422_and_named(cluster: Cluster, path: str, said: str) -> None:
    answer = cluster.get(f"/v1/dead-letters{path}")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["detail"].startswith(said)


def test_a_letter_whose_function_was_deleted_says_so(client: Client, grave: Grave) -> None:
    client.forget(client.task(grave.ids[0]).function_id)

    with pytest.raises(Refused, match=r"register it first \(unknown_function"):
        client.dead_letters.requeue(grave.ids[0])

    assert len(client.dead_letters.list()) == 3, "it is kept"


def test_an_async_program_has_them_too(cluster: Cluster, grave: Grave) -> None:
    import asyncio

    async def main() -> None:
        async with AsyncClient(cluster.url) as client:
            assert len(await client.dead_letters.list(2)) == 2
            assert (await client.dead_letters.get(grave.ids[0])).task_id == grave.ids[0]
            grave.cure.touch()
            assert await client.result(await client.dead_letters.requeue(grave.ids[0])) == "task-0"
            assert await client.dead_letters.purge(grave.ids[1]) == 1
            assert await client.dead_letters.purge() == 1

    asyncio.run(main())


# By command


def test_letters_are_listed_shown_queued_again_and_thrown_away_by_commands(cluster: Cluster, grave: Grave) -> None:
    place = ("--url", cluster.url)

    listed, told = regrow("dead", "list", *place), regrow("dead", "list", "--as-json", *place)
    assert (listed.returncode, listed.stdout.count("\n")) == (0, 4), listed.stderr
    assert all(task_id in listed.stdout for task_id in grave.ids)
    assert "crashed" in listed.stdout
    assert {letter["task_id"] for letter in json.loads(told.stdout)} == set(grave.ids)

    shown = regrow("dead", "show", grave.ids[0], *place).stdout
    assert grave.ids[0] in shown
    assert "attempt 1  " in shown
    assert "crashed: " in shown

    grave.cure.touch()
    queued = regrow("dead", "requeue", *grave.ids[:2], *place)
    assert queued.returncode == 0, queued.stderr
    pairs = [line.split() for line in queued.stdout.splitlines()]
    assert [old for old, _ in pairs] == grave.ids[:2]
    assert [cluster.value(new) for _, new in pairs] == ["task-0", "task-1"]

    purged = regrow("dead", "purge", "--all", *place)
    assert (purged.returncode, purged.stdout) == (0, "purged: 1\n")
    assert regrow("dead", "list", *place).stdout == "no dead letters\n"


def test_all_letters_are_queued_again_by_one_command(cluster: Cluster, grave: Grave) -> None:
    grave.cure.touch()

    queued = regrow("dead", "requeue", "--all", "--url", cluster.url)

    assert queued.returncode == 0, queued.stderr
    values = {cluster.value(line.split()[1]) for line in queued.stdout.splitlines()}
    assert values == {"task-0", "task-1", "task-2"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("dead requeue", 2, "say which dead letters: their ids, or --all ('regrow dead list' shows them)"),
        (f"dead purge {STRANGER} --all", 2, "say which dead letters: their ids, or --all"),
        (
            f"dead requeue {STRANGER}",
            1,
            f"task {STRANGER} is no dead letter, or was queued again or thrown away before",
        ),
        (f"dead purge {STRANGER}", 1, f"task {STRANGER} is no dead letter"),
        (f"dead show {STRANGER}", 1, f"task {STRANGER} is no dead letter"),
        ("dead show seven", 1, "task_id: Input should be a valid UUID"),
        ("dead lisst", 2, 'Unknown command "lisst"'),
        ("cancel seven", 1, "task_ids.0: Input should be a valid UUID"),
        ("submit math:hypot 3 4 --deadline-s -1", 1, "deadline_s: Input should be greater than 0"),
        ("submit math:hypot 3 4 --deadline-s 1 --delay-s 2", 1, "deadline_s: Input should be greater than delay_s"),
        ("submit math:hypot 3 4 --retries -1", 1, "retry.count: Input should be greater than or equal to 0"),
        ("submit math:hypot 3 4 --wall-s soon", 2, 'Invalid value for --wall-s: unable to convert "soon" into float'),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(cluster: Cluster, words: str, code: int, said: str) -> None:
    assert said in complaint(regrow(*words.split(), "--url", cluster.url), code)


def test_tasks_are_cancelled_by_command(cluster: Cluster, client: Client, tmp_path: Path) -> None:
    ended = client.submit(note, str(tmp_path / "witness"), "a")
    assert ended.result(30) == "a"
    waiting = regrow("submit", "math:hypot", "3", "4", "--delay-s", "60", "--url", cluster.url).stdout.strip()

    first = regrow("cancel", waiting, "--url", cluster.url)
    mixed = regrow("cancel", waiting, ended.task_id, STRANGER, "--url", cluster.url)

    assert (first.returncode, first.stdout) == (0, f"{waiting} cancelled\n")
    assert mixed.returncode == 1
    assert mixed.stdout.splitlines() == [
        f"{waiting} cancelled", f"{ended.task_id} had ended before", f"{STRANGER} unknown",
    ]  # fmt: skip
    told = regrow("result", waiting, "--url", cluster.url)
    assert (told.returncode, told.stderr) == (1, "cancelled: the task was cancelled\n")


def test_submit_takes_options(cluster: Cluster, client: Client) -> None:
    flags = ("--max-attempts", "1", "--retries", "2", "--deadline-s", "60", "--expires-s", "30", "--delay-s", "0.1")
    run = regrow("submit", "math:hypot", "3", "4", "--wait", *flags, "--wall-s", "9", "--url", cluster.url)
    assert run.stdout.splitlines()[1:] == ["5.0"], run.stderr
    assert "--retries has no effect" in run.stderr
    function = client.task(run.stdout.split()[0]).function_id
    assert cluster.get(f"/v1/functions/{function}").json()["retry"]["count"] == 2


@needs_limits
def test_what_a_dead_task_printed_at_last_is_told_everywhere(cluster: Cluster, client: Client, tmp_path: Path) -> None:
    dead = client.submit(client.function(die, max_attempts=1), str(tmp_path / "witness"), "task-x")

    error = dead.exception(30)

    assert isinstance(error, TaskFailed)
    assert error.output == "the last words of task-x\n"
    assert error.__notes__ == ["it printed:\nthe last words of task-x"]
    result = regrow("result", dead.task_id, "--url", cluster.url)
    shown = regrow("dead", "show", dead.task_id, "--url", cluster.url)
    assert result.returncode == 1
    assert result.stderr.startswith("crashed: ")
    assert result.stderr.endswith("\nit printed:\nthe last words of task-x\n")
    assert shown.stdout.endswith("\nit printed:\nthe last words of task-x\n")
    assert cluster.get(f"/v1/dead-letters/{dead.task_id}").json()["output"] == "the last words of task-x\n"


# Memory


def footprint(store: "redis.Redis[bytes]") -> dict[str, int]:
    """Bytes of memory by key, without what is bounded by itself: the record of moves, the totals, the memo of the last claim."""
    names = [key.decode() for key in store.scan_iter()]
    bounded = ("{regrow}:events", "{regrow}:counters", "{regrow}:claim:")
    return {name: store.memory_usage(name) or 0 for name in names if not name.startswith(bounded)}


def leftovers(store: "redis.Redis[bytes]") -> dict[str, int]:
    """What is still in the tables of tasks that have not ended, or not long ago."""
    sizes: dict[str, Any] = {
        "queue": store.llen("{regrow}:queue"),
        "open": store.hlen("{regrow}:open"),
        "deadlines": store.zcard("{regrow}:deadlines"),
        "scheduled": store.zcard("{regrow}:scheduled"),
        "dead": store.zcard("{regrow}:dead"),
        "tasks": sum(1 for _ in store.scan_iter("{regrow}:task:*", count=1000)),
    }
    return {name: size for name, size in sizes.items() if size}


def test_thousands_of_tasks_of_every_fate_leave_nothing_in_the_store(tmp_path: Path) -> None:
    flags = ("--workers", "1", "--slots", "2", "--retention-s", "2")
    with running(tmp_path / "data", *flags) as cluster, Client(cluster.url) as client:
        witness = str(tmp_path / "witness")
        plain = client.function(note)
        patient = client.function(fail_until, retry=Retry(count=1, backoff_s=0.05))
        fatal = client.function(die, max_attempts=1)
        timed = client.options(deadline_s=60, expires_s=50)
        fates = [
            lambda n: client.submit(plain, witness, f"plain-{n}"),
            lambda n: client.options(delay_s=0.1).submit(plain, witness, f"delayed-{n}"),
            lambda n: timed.submit(plain, witness, f"timed-{n}"),
            lambda n: client.options(expires_s=0.001).submit(plain, witness, f"expired-{n}"),
            lambda n: client.options(delay_s=60, deadline_s=90).submit(plain, witness, f"cancelled-{n}"),
        ]
        for function in (plain, patient, fatal):
            client.register(function)
        with redis.Redis.from_url(cluster.endpoints()["store"]) as store:
            wait_until(lambda: not leftovers(store), 20, "an empty store")
            before = footprint(store)

            futures = [fate(number) for number in range(600) for fate in fates]
            futures += [client.submit(patient, witness, f"patient-{n}", 2 + n % 2) for n in range(50)]
            futures += [client.submit(fatal, witness, f"dead-{n}", int(signal.SIGKILL)) for n in range(10)]
            wait_until(lambda: futures[-1].task_id, 30, "all accepted")
            assert leftovers(store)["open"]
            for future in futures[4:3000:5]:
                future.cancel_task()
            done, late = wait(futures, 90)
            assert (len(done), len(late)) == (3060, 0)
            assert sum(future.cancelled() for future in futures) >= 590

            wait_until(lambda: not leftovers(store), 30, "nothing is left of them", every=0.2)
            after = footprint(store)

        new = after.keys() - before.keys()
        assert not new, {key: after[key] for key in new}
        assert sum(after.values()) < sum(before.values()) + 4096
