"""A real worker with real slots, against a scripted dispatcher: what it promises whatever user code and networks do."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from regrow.actors import wire
from regrow.actors.slot import AHEAD_TASKS
from regrow.actors.task import FailureKind, TaskId
from support import functions
from support.processes import cpu_s, is_alive
from support.scripted import Dispatcher, children, dispatcher, worker
from support.waiting import wait_until

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def peer() -> Iterator[Dispatcher]:
    with dispatcher() as scripted:
        yield scripted


@pytest.fixture
def start(peer: Dispatcher, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker and waits until it has said Hello."""
    with ExitStack() as stack:

        def started(**settings: Any) -> subprocess.Popen[bytes]:
            process: subprocess.Popen[bytes] = stack.enter_context(worker(peer.address, tmp_path / "log", **settings))
            if peer.welcomes:
                peer.expect(wire.Hello)
            return process

        yield started


def held_gate(peer: Dispatcher, folder: Path, count: int) -> tuple[Path, list[str]]:
    """``count`` tasks that run until the gate is made."""
    gate, started = folder / "gate", folder / "started"
    ids = peer.run(*(peer.task(functions.wait_for, str(gate), str(started)) for _ in range(count)))
    peer.until(lambda: started.exists() and started.read_text().count("\n") == count, "all of them run")
    return gate, ids


def test_it_greets_with_what_it_is(peer: Dispatcher, tmp_path: Path) -> None:
    with worker(peer.address, tmp_path / "log", slots=3) as process:
        hello = peer.expect(wire.Hello)

    assert (hello.protocol, hello.pid, hello.slots, hello.name) == (wire.PROTOCOL, process.pid, 3, "worker-0")
    assert hello.worker.startswith("worker-0@")
    assert hello.dill
    assert hello.python


def test_it_runs_a_batch_and_asks_for_each_function_once(peer: Dispatcher, start: Start) -> None:
    start()

    ids = peer.run(*(peer.task(functions.double, number) for number in range(50)))

    assert [peer.result(task_id) for task_id in ids] == [2 * number for number in range(50)]
    assert len([message for message in peer.heard if isinstance(message, wire.NeedCode)]) == 1


def test_ten_megabytes_pass_both_ways(peer: Dispatcher, start: Start) -> None:
    start()
    large = os.urandom(10 * 1024 * 1024)

    [task_id] = peer.run(peer.task(functions.echo, large))

    assert peer.result(task_id) == large


def test_slots_work_at_the_same_time_and_every_one_of_them(peer: Dispatcher, start: Start, tmp_path: Path) -> None:
    start(slots=4)

    gate, ids = held_gate(peer, tmp_path, 4)
    gate.touch()

    assert len({peer.result(task_id) for task_id in ids}) == 4


def test_quick_tasks_behind_a_slow_one_are_taken_over_by_an_idle_slot(
    peer: Dispatcher, start: Start, tmp_path: Path
) -> None:
    start(slots=2)
    gate, started = tmp_path / "gate", tmp_path / "started"
    slow = peer.task(functions.wait_for, str(gate), str(started), expected_s=0.0001)
    quick = [peer.task(functions.double, number, expected_s=0.0001) for number in range(40)]

    ids = peer.run(slow, *quick)

    assert [peer.result(task_id) for task_id in ids[1:]] == [2 * number for number in range(40)]
    gate.touch()
    peer.result(ids[0])


@pytest.mark.parametrize(
    ("function", "arguments", "reason"),
    [
        (functions.leave_with, (3,), "exit:3"),
        (functions.crash, (), "signal:SIGSEGV"),
        (functions.kill_with, (int(signal.SIGKILL),), "signal:SIGKILL"),
        (functions.kill_group, (), "signal:SIGKILL"),
        (functions.close_everything, (), "exit:70"),
    ],
)
def test_a_slot_that_dies_costs_one_task_and_is_replaced(
    peer: Dispatcher, start: Start, function: Callable[..., Any], arguments: tuple[Any, ...], reason: str
) -> None:
    process = start(slots=1)
    poison = peer.task(function, *arguments, expected_s=0.0001)
    others = [peer.task(functions.double, number, expected_s=0.0001) for number in range(10)]

    ids = peer.run(*others[:5], poison, *others[5:])

    failure = peer.failure(ids[5])
    assert (failure.kind, failure.type) == (FailureKind.CRASHED, reason)
    assert [peer.result(task_id) for task_id in (*ids[:5], *ids[6:])] == [2 * number for number in range(10)]
    assert process.poll() is None


def test_garbage_in_its_socket_ends_a_slot_and_the_task_says_so(peer: Dispatcher, start: Start) -> None:
    start(slots=1)

    ids = peer.run(peer.task(functions.write_garbage), peer.task(functions.double, 1))

    assert "no answer" in peer.failure(ids[0]).message
    assert peer.result(ids[1]) == 2


def test_a_task_that_closes_its_output_does_not_keep_its_worker_busy(
    peer: Dispatcher, start: Start, tmp_path: Path
) -> None:
    """The end of a pipe that nobody writes to is readable for ever."""
    process = start(slots=2)
    gate, started = tmp_path / "gate", tmp_path / "started"
    [silent] = peer.run(peer.task(functions.close_output_and_wait_for, str(gate), str(started)))
    peer.until(started.exists, "it has closed its output")

    before_s = cpu_s(process.pid)
    peer.heard.clear()
    for _ in range(3):
        peer.expect(wire.Beat)
    assert cpu_s(process.pid) - before_s < 0.5  # of two seconds

    [other] = peer.run(peer.task(functions.double, 21))
    assert peer.result(other) == 42
    gate.touch()
    assert peer.failure(silent).type == "exit:70"
    [another] = peer.run(peer.task(functions.double, 22))
    assert peer.result(another) == 44


def test_it_beats_while_user_code_holds_the_interpreter(peer: Dispatcher, start: Start, tmp_path: Path) -> None:
    start(slots=1)
    peer.run(peer.task(functions.hold_the_interpreter, str(tmp_path / "started")))
    peer.until((tmp_path / "started").exists, "it holds it")
    peer.heard.clear()

    for _ in range(2):
        assert peer.expect(wire.Beat, within=2.5).busy == [0]


def test_a_stopped_slot_is_killed_and_its_task_is_a_crash(peer: Dispatcher, start: Start, tmp_path: Path) -> None:
    start(slots=1)
    _, [task_id] = held_gate(peer, tmp_path, 1)
    slot = int((tmp_path / "started").read_text())

    os.kill(slot, signal.SIGSTOP)

    assert "stopped" in peer.failure(task_id, within=5).message
    assert not is_alive(slot)


def test_dropped_tasks_are_killed_and_never_heard_of_again(peer: Dispatcher, start: Start, tmp_path: Path) -> None:
    start(slots=1)
    _, [task_id] = held_gate(peer, tmp_path, 1)
    slot = int((tmp_path / "started").read_text())

    peer.tell(wire.Drop([wire.Lease(task_id, 1)]))  # type: ignore[arg-type]

    peer.until(lambda: not is_alive(slot), "its slot is gone")
    [other] = peer.run(peer.task(functions.double, 4))
    assert peer.result(other) == 8
    assert task_id not in peer.outcomes


def test_recalled_tasks_are_the_newest_and_never_ran(peer: Dispatcher, start: Start, tmp_path: Path) -> None:
    start(slots=1)
    gate, ids = held_gate(peer, tmp_path, 1)
    witness = tmp_path / "witness"
    ids += peer.run(*(peer.task(functions.note, str(witness), str(number)) for number in range(4)))

    peer.tell(wire.Recall(3))
    given = [lease.task_id for lease in peer.expect(wire.GaveBack).leases]
    gate.touch()
    peer.result(ids[1])

    assert given == ids[:1:-1]
    assert witness.read_text() == "0\n"


def test_outcomes_are_sent_again_to_the_next_dispatcher_and_nothing_runs_twice(
    peer: Dispatcher, start: Start, tmp_path: Path
) -> None:
    process = start(slots=2)
    peer.acknowledges = False
    witness = tmp_path / "witness"
    [done] = peer.run(peer.task(functions.note, str(witness), "once"))
    peer.result(done)
    gate, [held] = held_gate(peer, tmp_path, 1)

    peer.close()
    peer.outcomes.clear()
    gate.touch()
    peer.acknowledges = True
    peer.reopen()

    hello = peer.expect(wire.Hello)
    assert {lease.task_id for lease in (*hello.held, *hello.done)} == {done, held}
    assert peer.result(done) != process.pid
    peer.result(held)
    assert witness.read_text() == "once\n"


def test_it_says_who_it_is_when_asked_and_sends_nothing_before_it_is_welcome(
    peer: Dispatcher, start: Start, tmp_path: Path
) -> None:
    start(slots=1)
    gate, [task_id] = held_gate(peer, tmp_path, 1)
    peer.welcomes = False
    peer.tell(wire.WhoAreYou())
    hello = peer.expect(wire.Hello)
    gate.touch()
    peer.heard.clear()

    for _ in range(2):
        peer.expect(wire.Beat)

    assert [lease.task_id for lease in hello.held] == [task_id]
    assert task_id not in peer.outcomes
    peer.tell(wire.Welcome("dispatcher-2", 1.0, 3.0))
    peer.result(task_id)


def suspend(process: subprocess.Popen[bytes], for_s: float) -> None:
    """Stop it for so long.  For what the clock alone decides there is nothing else to wait for."""
    process.send_signal(signal.SIGSTOP)
    suspended_at = time.monotonic()
    wait_until(lambda: time.monotonic() - suspended_at > for_s, within=2 * for_s, what="the time has gone")
    process.send_signal(signal.SIGCONT)


def test_a_worker_that_was_suspended_for_a_window_kills_what_ran_before_it_says_a_word_and_joins_as_a_new_one(
    peer: Dispatcher, start: Start, tmp_path: Path
) -> None:
    process = start(slots=2)
    gate, [running] = held_gate(peer, tmp_path, 1)
    slot = int((tmp_path / "started").read_text())
    peer.acknowledges = False
    [done] = peer.run(peer.task(functions.double, 1))
    peer.result(done)
    before = peer.peer
    peer.heard.clear()
    peer.outcomes.clear()
    peer.welcomes = peer.acknowledges = False

    suspend(process, 3.2)
    hello = peer.expect(wire.Hello)

    wait_until(lambda: not is_alive(slot), 1, "its stale task, which was sent SIGKILL before it spoke, is dead")
    assert peer.heard == [] or {type(message) for message in peer.heard} == {wire.Beat}
    assert hello.worker.encode() == peer.peer != before
    assert (hello.held, hello.done) == ([], [])
    peer.welcomes = peer.acknowledges = True
    peer.tell(wire.Welcome("dispatcher-1", 1.0, 3.0))
    gate.touch()
    [again] = peer.run(peer.task(functions.double, 2))
    assert peer.result(again) == 4
    assert peer.outcomes.keys() == {again}, f"neither {running}, as a crash, nor {done} was heard of again"


def test_a_worker_that_was_suspended_for_less_goes_on_with_what_it_has(
    peer: Dispatcher, start: Start, tmp_path: Path
) -> None:
    process = start(slots=1)
    gate, [task_id] = held_gate(peer, tmp_path, 1)
    peer.until(lambda: peer.expect(wire.Beat), "the window begins now")
    before = peer.peer
    peer.heard.clear()

    suspend(process, 2.4)  # of the window of 3 s, and more than a loop's wait and what counts as a gap together
    gate.touch()

    peer.result(task_id)
    assert peer.peer == before
    assert not [message for message in peer.heard if isinstance(message, wire.Hello)]
    assert "loop.gap" in (tmp_path / "log").read_text(), "it noticed"


def test_a_dispatcher_that_has_come_back_is_greeted_before_anything_else_is_said(
    peer: Dispatcher, start: Start
) -> None:
    start()
    peer.close()
    peer.welcomes = False
    peer.reopen()

    wait_until(lambda: peer.listen(0.05) or peer.heard, within=8, what="a word")

    assert isinstance(peer.heard[0], wire.Hello), "not a beat, which would have to be answered with a question first"


def test_a_silent_dispatcher_is_left_for_a_new_connection(peer: Dispatcher, start: Start) -> None:
    start()
    before = time.monotonic()
    peer.heard.clear()

    def hello() -> Any:
        """Hears everything and answers nothing."""
        peer.poller.wait(0.05)
        for _, frame in peer.router.receive():
            message = wire.decode_from_worker(frame)
            if isinstance(message, wire.Hello):
                return message
        return None

    wait_until(hello, within=8, what="a new Hello")
    assert 2.5 < time.monotonic() - before < 6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_whatever_it_is_told_to_end_by_nothing_of_it_is_left(
    peer: Dispatcher, start: Start, tmp_path: Path, number: int
) -> None:
    process = start(slots=1)
    wait_until(lambda: list(tmp_path.glob("regrow-*")), within=10, what="its directory is there")

    process.send_signal(number)

    assert process.wait(10) == 0
    assert not list(tmp_path.glob("regrow-*"))


def test_what_a_killed_one_has_left_the_next_one_clears(peer: Dispatcher, start: Start, tmp_path: Path) -> None:
    first = start(slots=1)
    [left] = tmp_path.glob("regrow-*")
    first.kill()
    first.wait(10)

    start(slots=1)

    assert not left.exists()


def test_a_refused_worker_ends_with_the_reason(peer: Dispatcher, tmp_path: Path) -> None:
    peer.welcomes = False
    with worker(peer.address, tmp_path / "log") as process:
        peer.expect(wire.Hello)
        peer.tell(wire.Refused("protocol 2 is needed; upgrade regrow"))

        assert process.wait(10) != 0
    assert "upgrade regrow" in (tmp_path / "log").read_text()
    assert not list(tmp_path.glob("regrow-*"))


def test_pull_mode_grants_what_its_ready_slots_can_hold_and_says_every_change(peer: Dispatcher, start: Start) -> None:
    start(slots=2, mode=wire.Mode.PULL)
    peer.until(lambda: wire.Grant(2 * AHEAD_TASKS) in peer.heard, "both slots are ready")
    peer.heard.clear()

    peer.run(peer.task(functions.leave_with, 3))

    peer.until(lambda: wire.Grant(AHEAD_TASKS) in peer.heard, "one is ready")
    peer.until(lambda: wire.Grant(2 * AHEAD_TASKS) in peer.heard, "both are ready again")


def test_a_stop_gives_back_what_waits_and_finishes_what_runs(peer: Dispatcher, start: Start, tmp_path: Path) -> None:
    process = start(slots=1)
    gate, [running] = held_gate(peer, tmp_path, 1)
    [waiting] = peer.run(peer.task(functions.double, 1))
    peer.until(lambda: peer.expect(wire.Beat), "the second task has arrived before the signal")

    process.terminate()
    given = peer.expect(wire.GaveBack)
    assert peer.expect(wire.Leaving) == wire.Leaving(is_final=False)
    gate.touch()
    peer.result(running)

    assert peer.expect(wire.Leaving) == wire.Leaving(is_final=True)
    assert [lease.task_id for lease in given.leases] == [waiting]
    assert process.wait(10) == 0


def test_a_stop_does_not_wait_longer_than_its_deadline(peer: Dispatcher, start: Start, tmp_path: Path) -> None:
    process = start(slots=1, drain_s=0.3)
    _, [running] = held_gate(peer, tmp_path, 1)

    process.terminate()

    assert peer.expect(wire.Leaving) == wire.Leaving(is_final=False)
    last = peer.expect(wire.Leaving, within=3)
    assert last == wire.Leaving(is_final=True, undone=[wire.Lease(TaskId(running), 1)])
    assert process.wait(5) == 0


def test_a_killed_worker_takes_busy_slots_with_it(peer: Dispatcher, start: Start, tmp_path: Path) -> None:
    process = start(slots=2)
    peer.run(peer.task(functions.spin, str(tmp_path / "pid")))
    peer.until((tmp_path / "pid").exists, "it spins")
    slots = children(process.pid)

    process.kill()

    wait_until(lambda: not any(map(is_alive, slots)), within=2, what="the slots are gone")
    assert len(slots) == 2


def test_slots_that_cannot_start_end_the_worker_with_their_last_words(peer: Dispatcher, tmp_path: Path) -> None:
    (tmp_path / "dill.py").write_text("raise RuntimeError('a broken module')\n")

    with worker(peer.address, tmp_path / "log", import_path=(str(tmp_path),)) as process:
        assert process.wait(30) != 0

    assert "a broken module" in (tmp_path / "log").read_text()


def test_what_slots_print_is_logged_line_by_line(peer: Dispatcher, start: Start, tmp_path: Path) -> None:
    start(slots=1)

    [task_id] = peer.run(peer.task(functions.shout, 3))
    peer.result(task_id)

    wait_until(lambda: (tmp_path / "log").read_text().count("slot.output") == 3, within=5, what="three events")


def test_a_flood_of_output_is_summed_up_once_a_second(peer: Dispatcher, start: Start, tmp_path: Path) -> None:
    process = start(slots=1)

    began = time.monotonic()
    ids = peer.run(*(peer.task(functions.shout, 20_000) for _ in range(5)))
    for task_id in ids:
        peer.result(task_id)
    process.terminate()
    assert process.wait(10) == 0
    seconds = time.monotonic() - began

    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    dropped = [event for event in events if event["event"] == "slot.output_dropped"]
    logged = [event["line"] for event in events if event["event"] == "slot.output"]
    assert 1 <= len(dropped) <= seconds + 1
    assert sum(event["lines"] for event in dropped) == 100_000 - len(logged)
    printed = 5 * sum(len(f"line {number} \n") + 100 for number in range(20_000))
    assert sum(event["size_bytes"] for event in dropped) == printed - sum(len(line) + 1 for line in logged)


def test_a_crash_quotes_only_what_its_own_task_printed(peer: Dispatcher, start: Start) -> None:
    start(slots=1)
    quick = [peer.task(functions.say, "a secret", expected_s=0.0001) for _ in range(20)]
    crash = peer.task(functions.crash, expected_s=0.0001)

    ids = peer.run(*quick, crash)

    trace = peer.failure(ids[-1]).traceback
    assert "Segmentation fault" in trace
    assert "a secret" not in trace


def test_a_damaged_frame_is_dropped_and_harms_nothing(peer: Dispatcher, start: Start) -> None:
    start()

    assert peer.router.send(peer.peer, b"\xc1 no message")
    [task_id] = peer.run(peer.task(functions.double, 2))

    assert peer.result(task_id) == 4
