"""Limits of one attempt, on a real worker: 10 % above a limit a task fails as it should, 10 % below it passes."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from regrow.actors import wire
from regrow.actors.limits import Limits
from regrow.actors.task import FailureKind
from support import functions, hungry
from support.processes import is_alive
from support.scripted import Dispatcher, dispatcher, worker
from support.waiting import wait_until

MB = 1000 * 1000
GONE_S = 0.5  # promised: nothing of a task lives so long after its time
SLACK_S = 1.5  # for a loaded machine, on top of what is promised
LEFT_S = 1.0  # promised: nothing that a task has left lives so long after its end

Work = tuple[Callable[..., Any], Any]


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dispatcher]:
    """A dispatcher with one worker of one slot, which all tests of this module share."""
    with dispatcher() as scripted, worker(scripted.address, tmp_path_factory.mktemp("w") / "log", slots=1):
        scripted.expect(wire.Hello)
        yield scripted


def submit(
    peer: Dispatcher,
    function: Callable[..., Any],
    *args: Any,
    limits: Limits | None = None,
    deadline_s: float | None = None,
    expected_s: float | None = None,
) -> str:
    """Send one task; its id."""
    task = peer.task(function, *args, expected_s=expected_s)
    [task_id] = peer.run(msgspec.structs.replace(task, limits=limits, deadline_s=deadline_s))
    return task_id


def ends(peer: Dispatcher, task_id: str, within: float = 20.0) -> str:
    """ "" for a value, else kind and type of its failure."""
    outcome = peer.until(lambda: peer.outcomes.get(task_id), f"the outcome of {task_id}", within)
    return "" if outcome.failure is None else f"{outcome.failure.kind} {outcome.failure.type}"


def pids_in(peer: Dispatcher, file: Path) -> list[int]:
    """As a task has written them, when it has."""
    peer.until(file.exists, "it has started all of them")
    return [int(pid) for pid in file.read_text().split()]


LIMITS = {
    "wall_s": ("timed_out wall_s", Limits(wall_s=2.0), (hungry.sleep, 2.2), (hungry.sleep, 1.8)),
    "memory": (
        "oom memory_bytes",
        Limits(memory_bytes=300 * MB),
        (hungry.hold_memory, 330 * MB),
        (hungry.hold_memory, 270 * MB),
    ),
    "memory with children": (
        "oom memory_bytes",
        Limits(memory_bytes=300 * MB),
        (hungry.hold_memory_with_children, 110 * MB, 100 * MB, 2),
        (hungry.hold_memory_with_children, 90 * MB, 75 * MB, 2),
    ),
    "cpu_s": ("limit cpu_s", Limits(cpu_s=1.0), (hungry.burn, 1.1), (hungry.burn, 0.9)),
    "cpu_s of a child": ("limit cpu_s", Limits(cpu_s=1.0), (hungry.burn_in_child, 1.1), (hungry.burn_in_child, 0.8)),
    "open_files": ("limit open_files", Limits(open_files=100), (hungry.open_files, 110), (hungry.open_files, 90)),
    "file_bytes": (
        "limit file_bytes",
        Limits(file_bytes=MB),
        (hungry.write_file, 1_100_000),
        (hungry.write_file, 900_000),
    ),
    "processes": ("limit processes", Limits(processes=10), (hungry.start_processes, 11), (hungry.start_processes, 9)),
    "value": (
        "limit output_bytes",
        Limits(output_bytes=MB),
        (hungry.give_bytes, 1_100_000),
        (hungry.give_bytes, 900_000),
    ),
    "printed": (
        "limit output_bytes",
        Limits(output_bytes=MB),
        (hungry.print_bytes, 1_100_000),
        (hungry.print_bytes, 900_000),
    ),
    "printed at once": (
        "limit output_bytes",
        Limits(output_bytes=1000),
        (hungry.print_bytes, 1100),
        (hungry.print_bytes, 900),
    ),
}


@pytest.mark.parametrize(("end", "limits", "above", "below"), LIMITS.values(), ids=LIMITS)
def test_ten_per_cent_above_it_fails_and_ten_below_it_passes(
    peer: Dispatcher, end: str, limits: Limits, above: Work, below: Work
) -> None:
    failing = submit(peer, *above, limits=limits)
    passing = submit(peer, *below, limits=limits)

    assert ends(peer, failing) == end
    assert ends(peer, passing) == ""
    failure = peer.outcomes[failing].failure
    assert failure is not None
    assert end.split()[1] in failure.message, "it says which limit, and what to do"
    assert not peer.outcomes[failing].is_victim


@pytest.mark.parametrize("is_in_c", [False, True], ids=["waiting", "holding the interpreter in C"])
@pytest.mark.parametrize("way", ["limit", "deadline"])
def test_when_its_time_is_over_all_that_it_started_is_dead(
    peer: Dispatcher, tmp_path: Path, is_in_c: bool, way: str
) -> None:
    of_its_own = {"limits": Limits(wall_s=2.0)} if way == "limit" else {"deadline_s": 2.0}
    submitted_at = time.monotonic()
    task_id = submit(peer, hungry.stay, str(tmp_path / "pids"), is_in_c, **of_its_own)  # type: ignore[arg-type]
    pids = pids_in(peer, tmp_path / "pids")
    assert len(pids) == 4
    assert all(map(is_alive, pids))

    peer.until(lambda: not any(map(is_alive, pids)), "all of them are dead", within=10)
    lived_s = time.monotonic() - submitted_at

    assert 1.9 < lived_s < 2.0 + GONE_S + SLACK_S
    assert ends(peer, task_id) == f"timed_out {'wall_s' if way == 'limit' else 'deadline_s'}"
    assert peer.outcomes[task_id].ran_s > 1.5


def test_a_task_that_waits_behind_another_has_not_started(peer: Dispatcher) -> None:
    """Three in one slot, each shorter than its limit, all together longer."""
    ids = [submit(peer, hungry.sleep, 0.7, limits=Limits(wall_s=1.5), expected_s=0.001) for _ in range(3)]

    assert [ends(peer, task_id) for task_id in ids] == ["", "", ""]


def test_a_deadline_ends_a_task_that_waits_without_starting_it(peer: Dispatcher, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    before = submit(peer, hungry.sleep, 1.5, expected_s=0.001)
    in_the_slot = submit(peer, functions.note, str(witness), "ran", deadline_s=0.5, expected_s=0.001)
    in_the_worker = submit(peer, functions.note, str(witness), "ran", deadline_s=0.5)
    over = submit(peer, functions.note, str(witness), "ran", deadline_s=-1.0)

    for task_id in (in_the_slot, in_the_worker, over):
        assert ends(peer, task_id) == "timed_out deadline_s"
        assert "not started" in peer.outcomes[task_id].failure.message  # type: ignore[union-attr]
    assert before not in peer.outcomes, "they did not wait for the slot"
    assert ends(peer, before) == ""
    assert not witness.exists()


def test_calls_behind_a_task_that_is_killed_for_a_limit_run_once_and_are_not_blamed(
    peer: Dispatcher, tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    spinning = submit(peer, functions.spin, str(tmp_path / "pid"), limits=Limits(wall_s=0.5), expected_s=0.001)
    behind = [submit(peer, functions.note, str(witness), str(number), expected_s=0.001) for number in range(5)]

    assert ends(peer, spinning) == "timed_out wall_s"
    assert [ends(peer, task_id) for task_id in behind] == [""] * 5
    assert witness.read_text().split() == list("01234")


def test_a_limit_does_not_leak_into_the_next_task_of_the_slot(peer: Dispatcher) -> None:
    [before] = peer.run(peer.task(hungry.soft_limits))
    limits = Limits(memory_bytes=50 * MB, open_files=10, file_bytes=MB, cpu_s=5.0, wall_s=10.0, processes=1)
    within = submit(peer, hungry.soft_limits, limits=limits)
    failing = submit(peer, hungry.hold_memory, 60 * MB, limits=limits)

    [after] = peer.run(peer.task(hungry.soft_limits))

    assert ends(peer, failing) == "oom memory_bytes"
    assert peer.result(after) == peer.result(before) != peer.result(within)


def test_memory_that_runs_out_in_small_pieces_is_told_as_well(peer: Dispatcher) -> None:
    task_id = submit(peer, hungry.hold_memory_in_pieces, 100 * MB, limits=Limits(memory_bytes=50 * MB))

    assert ends(peer, task_id) == "oom memory_bytes"


def test_who_prints_without_end_is_killed_and_the_beginning_is_kept(peer: Dispatcher) -> None:
    task_id = submit(peer, hungry.print_for_ever, limits=Limits(output_bytes=100_000))

    assert ends(peer, task_id) == "limit output_bytes"
    assert peer.outcomes[task_id].printed.startswith(b"xxx")


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -1.0, 0.0, 1e300])
def test_limits_that_make_no_sense_do_not_hurt_the_worker(peer: Dispatcher, amount: float) -> None:
    whole = int(amount) if amount in (-1.0, 0.0) else 2**63 - 1
    limits = Limits(amount, amount, whole, whole, whole, whole, whole)

    task_id = submit(peer, functions.double, 4, limits=limits, deadline_s=amount)
    ends(peer, task_id)

    [other] = peer.run(peer.task(functions.double, 4))
    assert peer.result(other) == 8


def test_nothing_that_a_task_has_left_is_there_beside_the_next(peer: Dispatcher, tmp_path: Path) -> None:
    left = submit(peer, hungry.leave, str(tmp_path / "pids"), expected_s=0.001)
    behind = submit(peer, hungry.is_alone, expected_s=0.001)

    assert peer.result(left).startswith("left by")
    pids = pids_in(peer, tmp_path / "pids")
    wait_until(lambda: not any(map(is_alive, pids)), LEFT_S, "all of them are dead")
    assert len(pids) == 4
    assert peer.result(behind) == []


def test_nothing_that_a_dead_slot_has_left_lives_on(peer: Dispatcher, tmp_path: Path) -> None:
    task_id = submit(peer, hungry.stay, str(tmp_path / "pids"), False)
    pids = pids_in(peer, tmp_path / "pids")

    os.kill(pids[0], signal.SIGKILL)

    wait_until(lambda: not any(map(is_alive, pids)), 2, "all of them are dead")
    assert ends(peer, task_id) == "crashed signal:SIGKILL"


def test_a_worker_that_stops_leaves_nothing_of_its_tasks(tmp_path: Path) -> None:
    with dispatcher() as scripted, worker(scripted.address, tmp_path / "log", slots=1, drain_s=0.1) as process:
        scripted.expect(wire.Hello)
        submit(scripted, hungry.stay, str(tmp_path / "pids"), False)
        pids = pids_in(scripted, tmp_path / "pids")

        process.terminate()

        assert process.wait(10) == 0
        assert not any(map(is_alive, pids))


@pytest.mark.parametrize(
    ("then", "end"),
    [("return", ""), ("raise", "raised ValueError"), ("crash", "crashed signal:SIGSEGV"), ("leave", "crashed exit:3")],
)
def test_what_a_task_printed_comes_with_its_outcome_however_it_ended(peer: Dispatcher, then: str, end: str) -> None:
    task_id = submit(peer, hungry.print_both_and, then)

    assert ends(peer, task_id) == end
    assert peer.outcomes[task_id].printed.startswith(b"to standard output\nto standard error\n")


def test_what_a_task_printed_is_there_also_when_its_time_was_over(peer: Dispatcher) -> None:
    task_id = submit(peer, hungry.print_both_and, "sleep", limits=Limits(wall_s=1.0))

    assert ends(peer, task_id) == "timed_out wall_s"
    assert peer.outcomes[task_id].printed == b"to standard output\nto standard error\n"


def test_many_quick_tasks_each_get_what_they_have_printed_and_nothing_else(peer: Dispatcher) -> None:
    code = functions.by_value(
        hungry.print_number_and_say
    )  # once: the worker is kept waiting for no answer to its beats
    ids = peer.run(*(peer.task(code, number, expected_s=0.0001) for number in range(1000)))

    assert [peer.result(task_id) for task_id in ids] == list(range(1000))
    printed = [peer.outcomes[task_id].printed for task_id in ids]
    assert printed == [b"<%d>\n" % number if number % 2 else b"" for number in range(1000)]


def test_of_much_output_the_beginning_and_the_end_are_kept(peer: Dispatcher) -> None:
    [task_id] = peer.run(peer.task(hungry.print_much, 1_000_000))

    peer.result(task_id)

    printed = peer.outcomes[task_id].printed
    assert printed.startswith(b"the beginning\n")
    assert printed.endswith(b"the end\n")
    assert b"bytes cut" in printed
    assert len(printed) < 17 * 1024


def test_parameters_and_functions_that_were_damaged_are_not_run(peer: Dispatcher) -> None:
    task = peer.task(functions.double, 4)
    other = peer.task(functions.echo, 4)
    peer.codes[other.digest] = functions.by_value(functions.double)

    ids = peer.run(msgspec.structs.replace(task, checksum=1), other)

    for task_id, what in zip(ids, ("parameters", "function"), strict=True):
        failure = peer.failure(task_id)
        assert failure.kind is FailureKind.CORRUPT_PAYLOAD
        assert what in failure.message


def test_outcomes_have_checksums_and_exceptions_their_classes(peer: Dispatcher) -> None:
    import zlib

    task = peer.task(functions.double, 4)
    ids = peer.run(msgspec.structs.replace(task, checksum=zlib.crc32(task.params)), peer.task(hungry.raise_missing_key))

    assert peer.result(ids[0]) == 8
    outcome = peer.outcomes[ids[0]]
    assert outcome.value is not None
    assert outcome.checksum == zlib.crc32(outcome.value)
    assert peer.failure(ids[1]).types == ("KeyError", "LookupError", "Exception")


def test_user_code_is_the_first_to_go_when_the_machine_has_no_memory(peer: Dispatcher) -> None:
    [task_id] = peer.run(peer.task(hungry.oom_score))

    assert peer.result(task_id) == 1000 > int(Path("/proc/self/oom_score_adj").read_text())


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """A memory cgroup of 256 MiB below the one that this process is in."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = next((line.split(":", 2)[2] for line in lines if ":memory:" in line), None)
    folder = Path(f"/sys/fs/cgroup/memory{own}/regrow-test-{os.getpid()}")
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(256 * 1024 * 1024))
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    yield folder
    wait_until(lambda: not (folder / "cgroup.procs").read_text(), 5, "nobody is in it")
    folder.rmdir()


def test_a_slot_that_the_kernel_killed_for_want_of_memory_says_so(small_cgroup: Path, tmp_path: Path) -> None:
    with dispatcher() as scripted, worker(scripted.address, tmp_path / "log", slots=1) as process:
        (small_cgroup / "cgroup.procs").write_text(str(process.pid))
        scripted.expect(wire.Hello)
        [warm] = scripted.run(scripted.task(functions.kill_with, int(signal.SIGKILL)))
        assert ends(scripted, warm) == "crashed signal:SIGKILL", "by itself, and the kernel has killed nothing"

        killed = submit(scripted, hungry.hold_memory, 400 * MB)

        assert ends(scripted, killed) == "oom signal:SIGKILL"
        assert scripted.outcomes[killed].is_victim
        assert "MiB" in scripted.outcomes[killed].failure.message  # type: ignore[union-attr]
        [other] = scripted.run(scripted.task(functions.double, 4))
        assert scripted.result(other) == 8
