"""A worker that comes back after it was given up: it works again, as somebody new, and nothing that it was at is stored or goes on."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from regrow.chaos.link_fault import Cut, Way
from regrow.gateway.client import Client
from support.cluster import send
from support.parts import Parts, Witness, parts, square, wait
from support.processes import is_alive
from support.waiting import wait_until

PROMISED_WINDOW_S = 3.0  # after its last beat a silent worker is held for lost
LOST_WITHIN_S = 15.0  # here, on a loaded machine
PROMISED_REJOIN_S = 2.0  # after its return it is registered again
REJOIN_WITHIN_S = 8.0  # here: the same, on a loaded machine
PATIENCE_S = 30.0


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Parts]:
    with parts(tmp_path) as it:
        yield it


def test_a_worker_that_was_stopped_and_comes_back_is_fenced_and_works_again_as_a_new_one(
    whole: Parts, tmp_path: Path
) -> None:
    witness, gate, later = Witness(tmp_path / "witness"), tmp_path / "gate", tmp_path / "later"
    stopped = whole.worker("stopped", 2, is_far=False)
    before = whole.workers()[0]["worker_id"]
    with Client(whole.url) as client:
        answered = client.submit(wait, str(witness.path), 0, str(gate))
        endless = client.submit(wait, str(witness.path), 1, str(later))
        wait_until(lambda: len(witness.lines()) == 2, PATIENCE_S, "both run on the first worker")
        stale = witness.pids(0) + witness.pids(1)
        whole.worker("other", 2, is_far=False)

        send(stopped.process.pid, signal.SIGSTOP)
        stopped_at = time.monotonic()
        wait_until(lambda: len(witness.lines()) == 4, LOST_WITHIN_S, "both run again on the other one")
        assert time.monotonic() - stopped_at >= PROMISED_WINDOW_S - 1.0, "nobody is given up before his time"
        gate.touch()
        value = answered.result(PATIENCE_S)
        wait_until(lambda: all(map(is_alive, stale)), 1, "its slots live: one has answered already, one runs on")

        send(stopped.process.pid, signal.SIGCONT)
        back_at = time.monotonic()
        wait_until(lambda: not any(map(is_alive, stale)), REJOIN_WITHIN_S, "what was stale is killed")
        [after] = wait_until(
            lambda: [w["worker_id"] for w in whole.workers() if w["name"] == "stopped" and w["worker_id"] != before],
            REJOIN_WITHIN_S,
            "it is registered under another id",
        )
        assert time.monotonic() - back_at < REJOIN_WITHIN_S

        assert before not in [worker["worker_id"] for worker in whole.workers()]
        [abandoned] = stopped.events("worker.abandoned")
        assert abandoned["held"] == 2
        assert value == witness.pids(0)[1] == stored_value(client, answered.task_id), "the other one's, for ever"
        assert attempts(whole, answered.task_id) == ["worker_lost", "completed"]
        assert whole.metric("regrow_stale_results_total") == 0, "it did not even try"
        more = [client.submit(wait, str(witness.path), number, str(later)) for number in (2, 3, 4)]
        wait_until(lambda: len(witness.lines()) == 7, PATIENCE_S, "every slot of both is at work")
        later.touch()
        assert endless.result(PATIENCE_S) == witness.pids(1)[1]
        assert all(future.result(PATIENCE_S) for future in more)
        assert {task["worker"] for future in more for task in whole.task(future.task_id)["attempts"]} >= {after}
    assert max(witness.starts().values()) == 2
    assert whole.task(endless.task_id)["error"] is None, "a killed slot was no crash"


def test_a_late_outcome_of_an_older_attempt_is_refused_and_counted(whole: Parts, tmp_path: Path) -> None:
    witness, gate = Witness(tmp_path / "witness"), tmp_path / "gate"
    far = whole.worker("far", 1, is_far=True)
    with Client(whole.url) as client:
        future = client.submit(wait, str(witness.path), 0, str(gate))
        wait_until(lambda: len(witness.lines()) == 1, PATIENCE_S, "it runs behind the proxy")
        whole.worker("near", 1, is_far=False)

        with whole.links["worker"].fault(Cut(), Way.OUT):
            gate.touch()
            wait_until(lambda: len(witness.lines()) == 2, LOST_WITHIN_S, "it runs again on the near worker")
            value = future.result(PATIENCE_S)
        late = wait_until(
            lambda: whole.metric("regrow_stale_results_total"), REJOIN_WITHIN_S, "the late outcome is counted"
        )

        assert late >= 1
        assert value == witness.pids(0)[1] == stored_value(client, future.task_id)
        assert attempts(whole, future.task_id) == ["worker_lost", "completed"]
        assert not far.events("worker.abandoned"), "it was never suspended, and could not know"
        both = [client.submit(square, str(witness.path), number, 1.0) for number in (1, 2)]
        assert [future.result(PATIENCE_S) for future in both] == [1, 4]
    assert witness.starts() == {0: 2, 1: 1, 2: 1}


def stored_value(client: Client, task_id: str) -> object:
    """What is stored now."""
    return client.result(task_id, PATIENCE_S)


def attempts(whole: Parts, task_id: str) -> list[str]:
    """How each attempt ended."""
    return [attempt["outcome"] for attempt in whole.task(task_id)["attempts"]]
