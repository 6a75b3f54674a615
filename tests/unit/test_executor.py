"""One real slot process: what it answers, what user code finds in it, and what is left of it."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dill
import pytest

from regrow.actors import packets, pipe
from regrow.actors.limits import Limits
from regrow.actors.slot_process import clean_environment
from regrow.actors.task import FailureKind
from support import functions, hungry
from support.processes import is_alive
from support.slot import MAX_BYTES, HeldSlot, digest_of
from support.waiting import wait_until


@pytest.fixture
def slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldSlot]:
    monkeypatch.setenv("REGROW_REDIS_URL", "redis://secret")
    held = HeldSlot(tmp_path / "slot")
    held.start()
    yield held
    if held.process.pid:
        held.process.bury()


@pytest.fixture
def doomed(tmp_path: Path) -> HeldSlot:
    """A slot whose test buries it."""
    held = HeldSlot(tmp_path / "slot")
    held.start()
    return held


def test_it_runs_a_function_and_returns_its_value(slot: HeldSlot) -> None:
    ended = slot.run(functions.double, 21)

    assert ended.value is not None
    assert dill.loads(ended.value) == 42
    assert ended.failure is None
    assert ended.ran_s > 0


def test_it_runs_a_function_again_that_it_has_been_sent_once(slot: HeldSlot) -> None:
    code = functions.by_value(functions.double)
    slot.process.feed(1, packets.Call(digest_of(code), functions.call(1), code))
    slot.process.feed(2, packets.Call(digest_of(code), functions.call(2)))

    answers = slot.answers(2)

    assert [(turn, dill.loads(ended.value)) for turn, ended in answers] == [(1, 2), (2, 4)]


def test_a_call_whose_function_was_stolen_with_another_call_is_answered_but_not_run(
    slot: HeldSlot, tmp_path: Path
) -> None:
    code, witness = functions.by_value(functions.note), tmp_path / "witness"
    os.kill(slot.process.pid, signal.SIGSTOP)
    slot.process.feed(1, packets.Call(digest_of(code), functions.call(str(witness), "1"), code))
    slot.process.feed(2, packets.Call(digest_of(code), functions.call(str(witness), "2")))

    stolen, _ = pipe.receive(slot.process._slot_end, MAX_BYTES) or (0, b"")  # one packet of a steal
    os.kill(slot.process.pid, signal.SIGCONT)

    assert stolen == 1
    assert slot.answers(1) == [(2, packets.CodeMissing())]
    assert not witness.exists()
    slot.process.feed(3, packets.Call(digest_of(code), functions.call(str(witness), "3"), code))
    [(turn, ended)] = slot.answers(1)
    assert (turn, ended.failure, witness.read_text()) == (3, None, "3\n")


def test_a_function_that_a_slot_has_forgotten_for_others_is_missing_and_can_be_sent_again(slot: HeldSlot) -> None:
    code = functions.by_value(functions.double)
    size = packets.SLOT_CACHE_BYTES // 5
    codes = {
        turn: code + bytes([turn]) * size for turn in range(1, 7)
    }  # behind the pickle's end, where nobody reads it
    for turn in range(1, 7):
        slot.process.feed(turn, packets.Call(digest_of(codes[turn]), functions.call(turn), codes[turn]))
        [(_, ended)] = slot.answers(1)
        assert ended.failure is None

    slot.process.feed(7, packets.Call(digest_of(codes[1]), functions.call(1)))
    slot.process.feed(8, packets.Call(digest_of(codes[6]), functions.call(6)))

    [missing, (_, known)] = slot.answers(2)
    assert missing == (7, packets.CodeMissing())
    assert dill.loads(known.value) == 12


def test_a_crash_holds_what_its_own_task_printed_and_nothing_of_the_tasks_before(doomed: HeldSlot) -> None:
    doomed.feed(functions.say, "the first")
    doomed.feed(functions.say, "the second")
    doomed.feed(functions.say_and_leave, "the third")
    wait_until(doomed.process.has_ended, within=20, what="the slot has ended")

    answers = doomed.answers(2)
    doomed.lines()

    assert [turn for turn, _ in answers] == [1, 2]
    assert doomed.process.bury().output == "the third"


def test_output_that_was_read_before_its_tasks_answer_is_no_part_of_a_later_crash(
    doomed: HeldSlot, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    doomed.feed(functions.say_and_wait, "the first", str(gate))
    wait_until(lambda: doomed.lines(), within=20, what="its output has come")
    gate.touch()
    doomed.answers(1)

    doomed.feed(functions.leave_with, 3)

    assert doomed.death().output == ""


def test_large_parameters_and_values_pass(slot: HeldSlot) -> None:
    large = os.urandom(MAX_BYTES - 100)

    ended = slot.run(functions.echo, large)

    assert dill.loads(ended.value) == large


def test_a_value_above_the_limit_is_refused_with_both_sizes(slot: HeldSlot) -> None:
    ended = slot.run(functions.echo, b"x" * (MAX_BYTES + 1))

    assert ended.failure is not None
    assert ended.failure.kind is FailureKind.UNPICKLABLE
    assert str(MAX_BYTES) in ended.failure.message
    assert str(MAX_BYTES + 10) in ended.failure.message


def test_what_one_task_changes_the_next_does_not_see(slot: HeldSlot) -> None:
    before = dill.loads(slot.run(functions.look_around).value)

    assert slot.run(functions.make_a_mess).failure is None

    assert dill.loads(slot.run(functions.look_around).value) == before


def test_user_code_finds_nothing_of_ours(slot: HeldSlot) -> None:
    seen = dill.loads(slot.run(functions.look_around).value)

    assert seen["cwd"] == str(slot.process.folder)
    assert not [name for name in seen["environ"] if name.startswith("REGROW")]
    assert seen["umask"] == 0o077
    assert seen["int"]
    assert seen["usr1"]
    assert seen["ignored"] == [signal.SIGPIPE, signal.SIGXFSZ]
    assert [name for name in seen["main"] if not name.startswith("__")] == []
    assert len(seen["fds"]) == 6, "0, 1, 2, its socket, the duplicate of 1, and the listing itself"
    assert seen["sid"]
    assert seen["modules"] == []


def test_only_named_variables_reach_a_slot() -> None:
    environ = {"PATH": "/bin", "REGROW_TOKEN": "x", "AWS_SECRET": "x", "LC_ALL": "C", "PYTHONPATH": "/a"}

    assert clean_environment(environ, ("/b",)) == {"PATH": "/bin", "LC_ALL": "C", "PYTHONPATH": f"/b{os.pathsep}/a"}


def test_modules_of_the_import_path_are_found_here_and_in_processes_of_user_code(tmp_path: Path) -> None:
    (tmp_path / "helper_on_the_path.py").write_text("VALUE = 'found'\n")
    held = HeldSlot(tmp_path / "slot", import_path=(str(tmp_path),))
    held.start()

    ended = held.run(functions.import_helper)
    held.process.bury()

    assert dill.loads(ended.value) == ("found", "found")


def test_a_module_that_breaks_the_slots_own_imports_ends_it_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "dill.py").write_text("raise RuntimeError('a broken module')\n")
    held = HeldSlot(tmp_path / "slot", import_path=(str(tmp_path),))

    wait_until(held.process.has_ended, within=20, what="the slot has ended")
    held.lines()

    assert "a broken module" in held.process.bury().output


def test_a_forked_process_that_comes_back_from_the_function_does_not_answer(slot: HeldSlot) -> None:
    ended = slot.run(functions.fork_and_return)

    assert dill.loads(ended.value) == "original"
    assert dill.loads(slot.run(functions.double, 1).value) == 2


@pytest.mark.parametrize(
    ("function", "arguments", "reason"),
    [
        (functions.leave_with, (3,), "exit:3"),
        (functions.kill_with, (int(signal.SIGKILL),), "signal:SIGKILL"),
        (functions.kill_group, (), "signal:SIGKILL"),
        (functions.crash, (), "signal:SIGSEGV"),
        (functions.close_everything, (), "exit:70"),
    ],
)
def test_its_death_has_its_true_reason(
    doomed: HeldSlot, function: object, arguments: tuple[object, ...], reason: str
) -> None:
    doomed.feed(function, *arguments)  # type: ignore[arg-type]

    assert doomed.death().reason == reason


def test_a_segfault_leaves_its_python_traceback(doomed: HeldSlot) -> None:
    doomed.feed(functions.crash)

    wait_until(doomed.process.has_ended, within=20, what="the slot has ended")
    doomed.lines()

    assert "Segmentation fault" in doomed.process.bury().output


def test_garbage_in_its_socket_is_noticed_and_told(doomed: HeldSlot) -> None:
    doomed.feed(functions.write_garbage)

    wait_until(lambda: doomed.process.answers(0.0) is None or doomed.process.garbage, within=20, what="garbage is seen")

    assert "no answer" in doomed.process.garbage
    doomed.process.bury()


def test_calls_that_it_has_not_read_can_be_stolen_back(slot: HeldSlot, tmp_path: Path) -> None:
    gate, started = tmp_path / "gate", tmp_path / "started"
    running = slot.feed(functions.wait_for, str(gate), str(started))
    unread = [slot.feed(functions.double, number) for number in range(5)]
    unread.append(slot.feed(functions.echo, b"large" * pipe.INLINE_BYTES))
    wait_until(started.exists, within=20, what="the first call runs")

    stolen = slot.process.unread()
    gate.touch()
    answers = slot.answers(1)

    assert stolen == unread
    assert [turn for turn, _ in answers] == [running]


def test_its_process_group_and_directory_go_with_it(doomed: HeldSlot, tmp_path: Path) -> None:
    doomed.feed(functions.start_child, str(tmp_path / "pid"))

    doomed.death()

    child = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_alive(child), within=5, what="the process that user code had started is gone")
    assert not doomed.process.folder.exists()


def test_it_ends_when_its_worker_closes_the_socket(doomed: HeldSlot) -> None:
    doomed.process.end.shutdown(socket.SHUT_RDWR)

    assert doomed.death().reason == "exit:0"


def test_what_it_prints_comes_as_lines_and_a_flood_is_cut(slot: HeldSlot) -> None:
    lines: list[str] = []
    slot.feed(functions.shout, 5_000)

    def has_answered() -> bool:
        lines.extend(slot.lines())
        return bool(slot.process.answers(0.0))

    wait_until(has_answered, within=20, what="the flood is over")
    assert lines[0].startswith("line 0 ")
    assert len(lines) == 200
    dropped = slot.process.output.take_dropped()
    assert dropped.lines >= 4_000
    assert dropped.size_bytes > dropped.lines * len("line 0000")


def test_a_pipe_full_of_output_does_not_lose_the_answer(slot: HeldSlot) -> None:
    turn = slot.feed(functions.shout, 2_000)
    time_limit = time.monotonic() + 20

    answered: list[int] = []
    while not answered and time.monotonic() < time_limit:
        slot.lines()
        answered = [number for number, _ in slot.process.answers(0.0)]

    assert answered == [turn]


@pytest.mark.parametrize(
    ("limits", "function", "amount", "end"),
    [
        (Limits(wall_s=0.2), hungry.sleep, 0.3, (FailureKind.TIMED_OUT, "wall_s")),
        (Limits(cpu_s=0.2), hungry.burn, 0.3, (FailureKind.LIMIT, "cpu_s")),
        (Limits(cpu_s=0.2), hungry.burn_in_child, 0.3, (FailureKind.LIMIT, "cpu_s")),
        (Limits(memory_bytes=10**8), hungry.hold_memory, 2 * 10**8, (FailureKind.OOM, "memory_bytes")),
        (Limits(memory_bytes=10**8), hungry.hold_memory_in_pieces, 2 * 10**8, (FailureKind.OOM, "memory_bytes")),
        (Limits(output_bytes=1000), hungry.give_bytes, 1000, (FailureKind.LIMIT, "output_bytes")),
    ],
)
def test_what_a_slot_can_see_of_a_limit_it_tells_without_its_worker(
    slot: HeldSlot, limits: Limits, function: Callable[..., Any], amount: float, end: tuple[str, str]
) -> None:
    ended = slot.run_within(limits, function, amount)

    assert ended.failure is not None
    assert (ended.failure.kind, ended.failure.type) == end
    assert ended.failure.type in ended.failure.message
    assert slot.run(functions.double, 4).failure is None


def test_without_such_a_limit_an_exception_stays_what_it_is(slot: HeldSlot) -> None:
    ended = slot.run_within(Limits(wall_s=60.0), functions.raise_memory_error)

    assert ended.failure is not None
    assert (ended.failure.kind, ended.failure.type) == (FailureKind.RAISED, "MemoryError")
    assert ended.failure.types == ("MemoryError", "Exception")
    assert ended.failure.exception is not None


def test_what_a_task_leaves_is_killed_before_its_answer(slot: HeldSlot, tmp_path: Path) -> None:
    ended = slot.run(hungry.leave, str(tmp_path / "pids"))

    assert ended.failure is None
    assert not any(is_alive(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_a_damaged_function_is_not_kept(slot: HeldSlot) -> None:
    code = functions.by_value(functions.double)
    slot.process.feed(1, packets.Call(digest_of(code), functions.call(1), code + b"."))
    slot.process.feed(2, packets.Call(digest_of(code), functions.call(2)))

    [(_, damaged), missing] = slot.answers(2)

    assert damaged.failure.kind is FailureKind.CORRUPT_PAYLOAD
    assert missing == (2, packets.CodeMissing())
