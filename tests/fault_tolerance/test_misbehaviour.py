"""Functions and users that misbehave: what raises, dies, comes too late or is wanted no more costs itself and nobody else.

The evidence is what the tasks themselves write to a witness file; regrow's own records are compared with it.
"""

import itertools
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from regrow.gateway.client import (
    Client,
    Executor,
    Limits,
    Refused,
    Retry,
    TaskCancelled,
    TaskFailed,
    TaskFuture,
    TaskView,
)
from support.cluster import Cluster, running, send
from support.limits import needs_limits
from support.misbehaving import die, fail_until, note, starts, wait_for
from support.processes import is_alive
from support.waiting import wait_until

FLAGS = ("--workers", "2", "--slots", "2")
SLOTS = 4
LATE_S = 8.0  # the promise is milliseconds; a loaded two-core machine gets more


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    return tmp_path / "witness"


@pytest.fixture
def gate(client: Client, tmp_path: Path) -> Iterator[Path]:
    """All slots are busy until this file is there."""
    path = tmp_path / "gate"
    before = tmp_path / "busy"
    futures = [client.submit(wait_for, str(before), f"busy-{number}", str(path)) for number in range(SLOTS)]
    wait_until(lambda: len(starts(before)) == SLOTS, 20, "all slots are busy")
    yield path
    path.touch()
    assert all(future.result(30) for future in futures)


def id_of(future: TaskFuture[Any]) -> str:
    return wait_until(lambda: future.task_id, 10, "accepted")


def kind(future: TaskFuture[Any]) -> str:
    with pytest.raises(TaskFailed) as caught:
        future.result(60)
    return caught.value.kind


def outcomes(task: TaskView) -> list[str | None]:
    return [attempt.outcome for attempt in task.attempts]


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times)]


def restarts(cluster: Cluster) -> dict[str, tuple[int, int]]:
    """Pid and restarts of everything above the slots."""
    return {node["path"]: (node["pid"], node["restarts"]) for node in cluster.nodes() if node["role"] != "slot"}


# Retries


def test_what_raises_is_tried_again_after_growing_delays_until_it_returns(client: Client, witness: Path) -> None:
    patient = client.function(fail_until, retry=Retry(count=5, backoff_s=0.4, factor=2, jitter=0))

    future = client.submit(patient, str(witness), "a", 3)

    assert future.result(30) == 3
    first, second = gaps([start.at for start in starts(witness)])
    assert 0.4 <= first < 0.4 + LATE_S
    assert 0.8 <= second < 0.8 + LATE_S
    assert outcomes(client.task(future.task_id)) == ["raised", "raised", "completed"]


def test_what_goes_on_raising_fails_with_its_last_exception_and_is_a_dead_letter(client: Client, witness: Path) -> None:
    patient = client.function(fail_until, retry=Retry(count=2, backoff_s=0.05))

    future = client.submit(patient, str(witness), "a", 99)

    with pytest.raises(OSError, match="start 3 of a"):
        future.result(30)
    assert len(starts(witness)) == 3
    assert future.task_id in [letter.task_id for letter in client.dead_letters.list()]


@needs_limits
@pytest.mark.parametrize(("error", "count"), [(ConnectionResetError, 3), (FileNotFoundError, 1), (ValueError, 1)])
def test_only_what_the_policy_names_is_tried_again(client: Client, witness: Path, error: Any, count: int) -> None:
    picky = client.function(
        fail_until, retry=Retry(count=2, backoff_s=0.05, retry_on=OSError, dont_retry=FileNotFoundError)
    )

    with pytest.raises(error):
        client.submit(picky, str(witness), "a", 99, error).result(30)

    assert len(starts(witness)) == count


def test_a_retry_keeps_its_time_while_the_dispatcher_is_killed(cluster: Cluster, client: Client, witness: Path) -> None:
    patient = client.function(fail_until, retry=Retry(count=1, backoff_s=2.5, jitter=0))
    future = client.submit(patient, str(witness), "a", 2)
    wait_until(lambda: starts(witness), 20, "it has raised once")
    wait_until(lambda: client.status(id_of(future)) == "QUEUED", 10, "it waits for its next try")
    (dispatcher,) = cluster.of_role("dispatcher")

    send(dispatcher["pid"], signal.SIGKILL)
    wait_until(lambda: not is_alive(dispatcher["pid"]), 5, "the dispatcher is dead")

    assert future.result(30) == 2
    (gap,) = gaps([start.at for start in starts(witness)])
    assert 2.5 <= gap < 2.5 + LATE_S


def test_retries_and_delays_keep_their_times_while_the_whole_tree_is_killed(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    flags = ("--workers", "1", "--slots", "1")
    first = Cluster(tmp_path / "data", *flags).wait_ready()
    try:
        with Client(first.url) as client:
            patient = client.function(fail_until, retry=Retry(count=1, backoff_s=4, jitter=0))
            again = client.submit(patient, str(witness), "again", 2)
            wait_until(lambda: starts(witness, "again"), 20, "it has raised once")
            wait_until(lambda: client.status(id_of(again)) == "QUEUED", 10, "it waits for its next try")
            later = client.options(delay_s=4).submit(note, str(witness), "later")
            id_of(later)
            submitted_at = time.time()
    finally:
        first.kill()
    assert [start.name for start in starts(witness)] == ["again"], "it was killed in time"

    with running(tmp_path / "data", *flags) as second:
        assert second.value(again.task_id) == 2
        assert second.value(later.task_id) == "later"

    (gap,) = gaps([start.at for start in starts(witness, "again")])
    (start,) = starts(witness, "later")
    assert 4 <= gap < 4 + 2 * LATE_S
    assert 3.8 <= start.at - submitted_at < 4 + 2 * LATE_S


@pytest.mark.parametrize("end", [(fail_until, 99), (die, 0)])
def test_a_single_attempt_is_never_started_twice_whatever_the_policy(
    client: Client, witness: Path, end: tuple[Callable[..., Any], int]
) -> None:
    function, argument = end
    with pytest.warns(UserWarning, match="no effect"):
        once = client.function(function, max_attempts=1, retry=Retry(count=5, backoff_s=0.01))

    future = client.submit(once, str(witness), "a", argument)

    assert type(future.exception(30)) in (OSError, TaskFailed)
    assert client.submit(note, str(witness), "behind").result(30) == "behind"
    assert [start.name for start in starts(witness)] == ["a", "behind"]
    assert len(client.task(future.task_id).attempts) == 1


def test_a_single_attempt_is_not_started_again_when_its_worker_is_killed(
    cluster: Cluster, client: Client, witness: Path
) -> None:
    with pytest.warns(UserWarning, match="no effect"):
        once = client.function(wait_for, max_attempts=1, retry=Retry(count=5, backoff_s=0.01))
    future = client.submit(once, str(witness), "a", "/never")
    wait_until(lambda: starts(witness), 20, "it runs")
    (attempt,) = client.task(id_of(future)).attempts
    name = attempt.worker.partition("@")[0]
    victim = next(node for node in cluster.of_role("worker") if node["name"] == name)

    send(victim["pid"], signal.SIGKILL)

    assert kind(future) == "worker_lost"
    wait_until(lambda: cluster.node(victim["path"])["state"] == "running", 20, "another worker in its place")
    assert client.submit(note, str(witness), "behind").result(30) == "behind"
    assert [start.name for start in starts(witness)] == ["a", "behind"]


# Cancelling


def test_a_queued_task_that_is_cancelled_is_never_started(client: Client, witness: Path, gate: Path) -> None:
    unwanted, wanted = (client.submit(note, str(witness), name) for name in ("unwanted", "wanted"))
    assert client.status(id_of(unwanted)) == "QUEUED"

    assert client.cancel(unwanted.task_id).cancelled == [unwanted.task_id]
    with pytest.raises(CancelledError):
        unwanted.result(10)

    gate.touch()
    assert wanted.result(30) == "wanted"
    assert [start.name for start in starts(witness)] == ["wanted"]
    assert client.task(unwanted.task_id).attempts == []


def test_a_running_task_that_is_cancelled_is_killed_and_counts_as_nobodys_failure(
    cluster: Cluster, client: Client, witness: Path
) -> None:
    before = restarts(cluster)
    future = client.submit(wait_for, str(witness), "unwanted", "/never")
    (start,) = wait_until(lambda: starts(witness), 20, "it runs")

    cancelled_at = time.monotonic()
    future.cancel_task()

    with pytest.raises(TaskCancelled):
        future.result(10)
    wait_until(lambda: not is_alive(start.pid), LATE_S, "its process is gone")
    assert time.monotonic() - cancelled_at < LATE_S
    assert outcomes(client.task(future.task_id)) == ["cancelled"]
    assert restarts(cluster) == before
    assert client.map(note_of(witness), range(8)) == [str(number) for number in range(8)]
    assert len(starts(witness, "unwanted")) == 1


def note_of(witness: Path) -> Callable[[int], str]:
    """``note`` of numbers."""
    path = str(witness)
    return lambda number: note(path, str(number))


def test_what_waits_behind_a_cancelled_task_in_the_same_slot_is_not_hit(
    client: Client, witness: Path, tmp_path: Path
) -> None:
    quick = client.function(wait_for)
    client.map(lambda n: n, range(SLOTS))  # the slots are up
    for _ in range(5):  # short so far, so that some of it is sent ahead
        wait([client.submit(quick, str(tmp_path / "before"), str(number), "") for number in range(40)], 30)
    stuck = [client.submit(quick, str(witness), f"stuck-{number}", "/never") for number in range(SLOTS)]
    behind = [client.submit(quick, str(witness), f"behind-{number}", "") for number in range(40)]
    wait_until(lambda: len(starts(witness)) == SLOTS, 20, "each slot is stuck")
    wait_until(lambda: id_of(behind[-1]), 10, "all accepted")
    ahead = [future for future in behind if client.status(future.task_id) == "RUNNING"]

    stuck[0].cancel_task()

    assert [future.result(30) for future in behind] == [f"behind-{number}" for number in range(40)]
    for future in stuck[1:]:
        future.cancel_task()
    assert [kind(future) for future in stuck] == ["cancelled"] * SLOTS
    assert ahead, "some were at a worker, behind what was stuck"
    assert set(Counter(start.name for start in starts(witness)).values()) == {1}
    assert all(outcomes(client.task(future.task_id)) == ["completed"] for future in ahead)


def test_cancelling_what_has_ended_changes_nothing(client: Client, witness: Path) -> None:
    completed = client.submit(note, str(witness), "a")
    failed = client.submit(fail_until, str(witness), "b", 99)
    wait([completed, failed], 30)
    ids = [completed.task_id, failed.task_id]
    before = [client.task(task_id) for task_id in ids]

    answer = client.cancel(*ids)
    completed.cancel_task()

    assert answer.ended == ids
    assert [client.task(task_id) for task_id in ids] == before
    assert completed.result(0) == "a"


def test_shutdown_cancels_what_waits_and_lets_finish_what_runs(
    cluster: Cluster, client: Client, witness: Path, gate: Path
) -> None:
    def unseen(path: str, name: str) -> str:
        """None of it goes ahead to a worker, since nobody knows how long it takes."""
        return note(path, name)

    executor = Executor(cluster.url)
    waiting = [executor.submit(unseen, str(witness), str(number)) for number in range(20)]
    wait_until(lambda: all(future.task_id for future in waiting), 10, "accepted")

    executor.shutdown(cancel_futures=True)

    assert all(future.cancelled() for future in waiting)
    gate.touch()
    assert client.submit(note, str(witness), "behind").result(30) == "behind"
    assert [start.name for start in starts(witness)] == ["behind"]


# Times


def test_a_task_starts_when_its_delay_is_over_and_not_before(client: Client, witness: Path) -> None:
    submitted_at = time.time()

    assert client.options(delay_s=1).submit(note, str(witness), "a").result(30) == "a"

    (start,) = starts(witness)
    assert 1 <= start.at - submitted_at < 1 + LATE_S


@pytest.mark.parametrize("name", ["expires_s", "deadline_s"])
def test_a_task_whose_time_is_over_before_it_was_started_never_is(
    client: Client, witness: Path, gate: Path, name: str
) -> None:
    times: dict[str, float] = {name: 0.5}
    late = client.options(**times).submit(note, str(witness), "late")  # type: ignore[arg-type]
    submitted_at = time.monotonic()

    assert kind(late) == "expired"

    assert 0.3 <= time.monotonic() - submitted_at < 0.5 + LATE_S, "while all slots are still busy"
    gate.touch()
    assert client.submit(note, str(witness), "behind").result(30) == "behind"
    assert [start.name for start in starts(witness)] == ["behind"]


def test_a_task_in_time_does_not_expire(client: Client, witness: Path) -> None:
    slow = client.options(expires_s=2).submit(wait_for, str(witness), "a", str(witness) + ".go")
    (start,) = wait_until(lambda: starts(witness), 20, "it runs")
    wait_until(lambda: time.time() > start.at + 2.5, 10, "the time for its start is over")
    Path(str(witness) + ".go").touch()

    assert slow.result(30) == "a"


def test_a_deadline_ends_a_task_that_waits_for_its_next_try(client: Client, witness: Path) -> None:
    patient = client.function(fail_until, retry=Retry(count=5, backoff_s=60))
    future = client.options(deadline_s=2).submit(patient, str(witness), "a", 99)
    submitted_at = time.monotonic()

    assert kind(future) == "timed_out"

    assert 1.5 <= time.monotonic() - submitted_at < 2 + LATE_S
    assert len(starts(witness)) == 1


@needs_limits
def test_a_deadline_ends_a_task_that_runs(client: Client, witness: Path) -> None:
    future = client.options(deadline_s=2).submit(wait_for, str(witness), "a", "/never")
    (start,) = wait_until(lambda: starts(witness), 20, "it runs")

    assert kind(future) == "timed_out"

    wait_until(lambda: not is_alive(start.pid), LATE_S, "its process is gone")
    assert time.time() - start.at < 2 + LATE_S
    assert len(starts(witness)) == 1


@needs_limits
def test_a_limit_ends_one_attempt_and_the_tasks_own_is_over_its_functions(client: Client, witness: Path) -> None:
    slow = client.function(wait_for, limits=Limits(wall_s=60))
    future = client.options(limits=Limits(wall_s=1)).submit(slow, str(witness), "a", "/never")

    assert kind(future) == "timed_out"

    (start,) = starts(witness)
    assert 1 <= time.time() - start.at < 1 + LATE_S


# Keys


def test_one_key_is_one_start_however_many_submit_at_once(client: Client, cluster: Cluster, witness: Path) -> None:
    key = str(uuid.uuid4())

    def submit(_: int) -> str:
        with Client(cluster.url) as other:
            future = other.options(idempotency_key=key, max_attempts=2).submit(note, str(witness), "a")
            assert future.result(30) == "a"
            return future.task_id

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(submit, range(8)))

    assert len(ids) == 1
    assert len(starts(witness)) == 1
    with pytest.raises(Refused, match="idempotency_conflict"):
        client.options(idempotency_key=key).submit(note, str(witness), "a").result(30)


# Poison


def test_a_hundred_poison_tasks_cost_their_slots_and_nobody_else(
    cluster: Cluster, client: Client, witness: Path, tmp_path: Path
) -> None:
    before = restarts(cluster)
    fatal = client.function(die, max_attempts=2)
    ways = [0, signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT]

    poison = [client.submit(fatal, str(witness), f"poison-{n}", int(ways[n % 4])) for n in range(100)]
    good = [client.submit(note, str(tmp_path / "good"), f"good-{n}") for n in range(200)]

    assert [future.result(100) for future in good] == [f"good-{n}" for n in range(200)]
    assert Counter(kind(future) for future in poison) == {"quarantined": 100}
    counted = Counter(start.name for start in starts(witness))
    assert counted == {f"poison-{n}": 2 for n in range(100)}, "as often as max_attempts says"
    assert restarts(cluster) == before, "no worker, and nothing above, was hurt"
    letters = {letter.task_id: letter for letter in client.dead_letters.list()}
    assert {letters[future.task_id].attempts for future in poison} == {2}


# Functions


def test_a_deleted_function_is_called_no_more_and_what_was_accepted_still_runs(
    client: Client, witness: Path, gate: Path
) -> None:
    function_id = client.register(note)
    accepted = client.submit(function_id, str(witness), "accepted")
    id_of(accepted)

    client.forget(function_id)

    with pytest.raises(Refused, match="unknown_function"):
        client.submit(function_id, str(witness), "late").result(10)
    gate.touch()
    assert accepted.result(30) == "accepted"
    assert [start.name for start in starts(witness)] == ["accepted"]


def test_a_function_that_nobody_calls_is_deleted_when_its_time_is_over(
    cluster: Cluster, client: Client, witness: Path
) -> None:
    short = client.function(note, ttl_s=1.5)
    function_id = client.register(short)
    assert client.submit(function_id, str(witness), "a").result(30) == "a"
    called_at = time.monotonic()
    route = f"/v1/functions/{function_id}"

    wait_until(lambda: cluster.get(route).status_code == 404, 1.5 + LATE_S, "it is deleted")

    assert time.monotonic() - called_at >= 1
    with pytest.raises(Refused, match="unknown_function"):
        client.submit(function_id, str(witness), "late").result(10)
    assert client.submit(short, str(witness), "anew").result(30) == "anew", (
        "the client has the function, and sends it again"
    )
