"""Whatever ends a chaos process, nothing of its faults is left: its guardian undoes them, or ``regrow chaos undo`` does."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psutil
import pytest

from regrow.chaos import journal as journals
from regrow.chaos import undo as undos
from regrow.chaos.evidence import Strike
from regrow.chaos.experiment import Step, Target
from regrow.chaos.fault import Role
from regrow.chaos.faults.base import Blow
from regrow.chaos.faults.stop import Stop
from regrow.chaos.guardian import Guardian, GuardianLost
from regrow.chaos.lineage import start_time
from regrow.chaos.nemesis import Nemesis
from regrow.chaos.scene import Scene
from regrow.chaos.store_door import StoreDoor, StoreShut
from regrow.chaos.undo import (
    Continue,
    EndHelper,
    HealLink,
    RemoveFile,
    StoreSetting,
    StoreUnpause,
    Undo,
    UndoFailed,
    Unlimit,
)
from regrow.runtime.spec import ChildState
from regrow.runtime.tree import TreeNode
from support.own_tree import OwnTree, own_tree, step
from support.processes import is_alive
from support.striker import Made
from support.waiting import wait_until

WITHIN_S = 20.0
ROOT = Target(Role.ROOT)  # nobody replaces it when it is stopped for long, on a machine that is slow
WORKER = Target(Role.WORKER, "worker-0")
PROCESSES = [
    step("stutter", WORKER),
    step("fd.exhaust", Target(Role.GATEWAY), spare=100),
    step("cpu.hog", processes=2, nice=19),
    step("mem.hog", size_bytes=32 * 1024 * 1024),
    step("stop", ROOT),  # the last: it answers for the tree
]
FILES = [
    step("clock.offset", offset_s=60),
    step("start.slow", delay_s=30),
    step("start.fail", times=3),
    step("store.memory", spare_bytes=1 << 30),
    step("store.pause"),
]
KINDS = {
    "processes": PROCESSES,
    "files and settings": FILES,
    "a stopped store": [step("store.stop")],
    "a full disk": [step("disk.full")],
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnTree]:
    with own_tree(tmp_path_factory.mktemp("guardian"), "--workers", "1", "--slots", "1") as it:
        yield it


@pytest.fixture
def tree(shared: OwnTree) -> OwnTree:
    return shared.wait_whole()


class Traces:
    """What faults may have left in a tree."""

    def __init__(self, tree: OwnTree) -> None:
        self._tree = tree
        nodes = list(tree.scene.read_tree().walk())
        self._store = next(node for node in nodes if node.role == Role.STORE)
        self._pids = [node.pid for node in nodes if node.pid] + [int(self._store.facts["server_pid"])]
        self._limits = self._read_limits()

    def found(self) -> list[str]:
        """All of them, as text."""
        found = [f"{pid} is stopped" for pid in self._pids if is_alive(pid) and _status(pid) == "stopped"]
        found += [f"limits of {pid}" for pid, limits in self._read_limits().items() if limits != self._limits[pid]]
        hooks = self._tree.scene.hooks
        assert hooks is not None
        found += [str(file) for file in (hooks / "clock", *(hooks / "start").glob("*")) if file.exists()]
        found += [f"hog {one.pid}" for one in psutil.process_iter() if _is_hog(one)]
        return found or self._in_the_store()

    def _in_the_store(self) -> list[str]:
        try:
            with StoreDoor(self._store.facts["url"], answer_s=0.3) as door:
                door.exchange("none", "none", b"1", b"2")
                return [] if door.setting("maxmemory") == "0" else ["the store's maxmemory"]
        except StoreShut as error:
            return [str(error)]

    def _read_limits(self) -> dict[int, tuple[object, ...]]:
        kinds = (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)
        return {pid: tuple(resource.prlimit(pid, kind) for kind in kinds) for pid in self._pids if is_alive(pid)}


def _status(pid: int) -> str:
    try:
        return str(psutil.Process(pid).status())
    except psutil.NoSuchProcess:
        return "gone"


def _is_hog(process: psutil.Process) -> bool:
    try:
        return "regrow.chaos.hog" in process.cmdline() and psutil.Process() in process.parents()
    except psutil.NoSuchProcess:
        return False


@contextmanager
def striker(tree: OwnTree, journal: Path, steps: list[Step]) -> Iterator[tuple["subprocess.Popen[bytes]", Made]]:
    """A chaos process that has made these faults."""
    words = [
        tree.cluster.url,
        str(tree.scene.hooks),
        str(journal),
        *(msgspec.json.encode(one).decode() for one in steps),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-m", "support.striker", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            yield process, msgspec.json.decode(line, type=Made)
        finally:
            process.kill()


@pytest.mark.parametrize("kind", KINDS)
def test_a_chaos_process_that_is_killed_leaves_nothing(tree: OwnTree, tmp_path: Path, kind: str) -> None:
    journal = tmp_path / "journal.jsonl"
    traces = Traces(tree)
    with striker(tree, journal, KINDS[kind]) as (process, _):
        if kind != "a stopped store":  # that is killed by its actor after 3 s
            wait_until(traces.found, WITHIN_S, "it is done: a signal takes its time", every=0.01)

        os.killpg(process.pid, signal.SIGKILL)  # its guardian is in another group

        wait_until(lambda: not traces.found(), WITHIN_S, "nothing is left", every=0.05)
        wait_until(lambda: not journals.outstanding(journals.read(journal)), WITHIN_S, "the journal says so")
    assert {record.by for record in journals.read(journal) if isinstance(record, journals.Undone)} == {"guardian"}


@pytest.mark.parametrize("kind", KINDS)
def test_when_its_guardian_is_killed_too_undo_heals_from_the_journal(tree: OwnTree, tmp_path: Path, kind: str) -> None:
    journal = tmp_path / "journal.jsonl"
    traces = Traces(tree)
    with striker(tree, journal, KINDS[kind]) as (process, made):
        os.kill(made.guardian, signal.SIGKILL)
        process.kill()
        process.wait()
        if kind != "a stopped store":
            wait_until(traces.found, WITHIN_S, "it is done: a signal takes its time", every=0.01)

        said = [undo(tmp_path) for _ in range(2)]

    wait_until(lambda: not traces.found(), WITHIN_S, "nothing is left", every=0.05)
    assert said[0].count("\n") == len(KINDS[kind])
    assert all(one.fault in said[0] for one in KINDS[kind])
    assert said[1] == "nothing is left to undo\n"


def undo(where: Path) -> str:
    """What the command says."""
    command = [sys.executable, "-m", "regrow.runtime.cli", "chaos", "undo", str(where)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whatever_a_terminal_sends_to_all_nothing_is_left(tree: OwnTree, tmp_path: Path, number: int) -> None:
    traces = Traces(tree)
    with striker(tree, tmp_path / "journal.jsonl", [step("stop", ROOT)]) as (process, made):
        wait_until(traces.found, WITHIN_S, "it is done: a signal takes its time", every=0.01)

        os.kill(made.guardian, number)  # as if it were in the terminal's group
        os.killpg(process.pid, number)

        wait_until(lambda: not traces.found(), WITHIN_S, "nothing is left", every=0.05)
        process.wait(WITHIN_S)


def test_a_stopped_guardian_undoes_all_when_the_chaos_process_is_killed(tree: OwnTree, tmp_path: Path) -> None:
    traces = Traces(tree)
    with striker(tree, tmp_path / "journal.jsonl", [step("stop", ROOT)]) as (process, made):
        wait_until(traces.found, WITHIN_S, "it is done: a signal takes its time", every=0.01)
        stop(made.guardian)

        process.kill()

        wait_until(lambda: not traces.found(), WITHIN_S, "nothing is left", every=0.05)
        wait_until(lambda: not is_alive(made.guardian), WITHIN_S, "the guardian has ended")


def test_without_a_guardian_no_fault_is_made(tree: OwnTree, tmp_path: Path) -> None:
    traces = Traces(tree)
    with Nemesis(tree.scene, tmp_path / "journal") as nemesis:
        nemesis.strike(step("stop", ROOT))
        nemesis.heal()
        assert nemesis.guardian is not None
        os.kill(nemesis.guardian.pid, signal.SIGKILL)

        with pytest.raises(GuardianLost, match="no fault is made without it"):
            nemesis.strike(step("stop", ROOT))

        assert not traces.found()
        assert nemesis.outstanding == 0


def test_a_nemesis_whose_guardian_is_killed_undoes_what_it_did_itself(tree: OwnTree) -> None:
    traces = Traces(tree)
    with Nemesis(tree.scene) as nemesis:
        nemesis.strike(step("fd.exhaust", Target(Role.GATEWAY), for_s=1.0, spare=100))
        nemesis.strike(step("stop", ROOT))
        assert nemesis.guardian is not None
        os.kill(nemesis.guardian.pid, signal.SIGKILL)

        wait_until(lambda: nemesis.outstanding == 1, WITHIN_S, "the time of one of them is over")
        assert len(traces.found()) == 1
        assert nemesis.heal() == []
        assert not traces.found()


def test_the_undo_is_on_disk_and_held_before_the_fault_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "journal", []
    with sleeper() as process:
        node = TreeNode("root", "root", Role.ROOT, process.pid, ChildState.RUNNING, 1, 0)
        with Nemesis(Scene("http://127.0.0.1:1", lambda: node, list), path) as nemesis:

            def half(_: Stop, blow: Blow) -> str:
                seen.extend(journals.outstanding(journals.read(path)))
                assert nemesis.guardian is not None
                seen.append(nemesis.guardian.pid)
                os.kill(blow.victim.pid, signal.SIGSTOP)
                raise OSError("the rest went wrong")

            monkeypatch.setattr(Stop, "strike", half)
            (strike,) = nemesis.strike(step("stop", Target(Role.ROOT)))

            assert seen[0].undos == (Continue(process.pid, start_time(process.pid)),)
            assert is_alive(seen[1])
            assert strike.applied_at is None
            assert strike.detail == "the rest went wrong"
            assert _status(process.pid) != "stopped"  # half a fault is undone too
            assert nemesis.outstanding == 0


def test_when_all_is_over_a_strike_that_comes_late_is_none(tmp_path: Path) -> None:
    with sleeper() as process:
        node = TreeNode("root", "root", Role.ROOT, process.pid, ChildState.RUNNING, 1, 0)
        with Nemesis(Scene("http://127.0.0.1:1", lambda: node, list), tmp_path / "journal") as nemesis:
            assert nemesis.finish() == []

            (strike,) = nemesis.strike(step("stop", ROOT))

            assert strike.applied_at is None
            assert strike.detail == "the run was over before it was done"
            assert _status(process.pid) != "stopped"


# -- a guardian alone


@contextmanager
def sleeper(*, is_stopped: bool = False) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            if is_stopped:
                stop(process.pid)
            yield process
        finally:
            process.kill()


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: _status(pid) == "stopped", WITHIN_S, "it is stopped")


def test_a_guardian_that_somebody_has_stopped_is_let_go_on_by_whoever_waits_for_it() -> None:
    with sleeper(is_stopped=True) as process, ending(Guardian()) as guardian:
        undo = Continue(process.pid, start_time(process.pid))
        began = time.monotonic()
        stop(guardian.pid)
        guardian.hold(1, [undo])
        stop(guardian.pid)
        assert guardian.undo(1) == (f"process {process.pid} goes on",)
        stop(process.pid)
        guardian.hold(2, [undo])
        stop(guardian.pid)

        closing = threading.Thread(target=guardian.close, daemon=True)
        closing.start()
        closing.join(WITHIN_S)

        assert not closing.is_alive()
        assert time.monotonic() - began < WITHIN_S
        assert _status(process.pid) != "stopped"


@contextmanager
def ending(guardian: Guardian) -> Iterator[Guardian]:
    """One that may be stopped when its test fails."""
    try:
        yield guardian
    finally:
        with suppress(ProcessLookupError):
            os.kill(guardian.pid, signal.SIGKILL)
        guardian.close()


def test_what_is_released_is_not_undone() -> None:
    with sleeper(is_stopped=True) as process:
        with Guardian() as guardian:
            guardian.hold(1, [Continue(process.pid, start_time(process.pid))])
            guardian.release(1)

        assert _status(process.pid) == "stopped"


def test_what_nobody_undoes_in_time_the_guardian_does() -> None:
    with sleeper(is_stopped=True) as process, Guardian() as guardian:
        guardian.hold(1, [Continue(process.pid, start_time(process.pid))])
        guardian.start(1, 0.2)
        began = time.monotonic()

        wait_until(lambda: _status(process.pid) != "stopped", WITHIN_S, "it goes on")

        assert time.monotonic() - began >= 0.1


def test_a_later_process_with_the_same_number_is_left_alone() -> None:
    with sleeper() as process:
        earlier = start_time(process.pid) - 1
        before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        with Guardian() as guardian:
            guardian.hold(1, [EndHelper(process.pid, earlier), Unlimit(process.pid, earlier, 7, 10, 10)])

            assert guardian.undo(1) == (f"process {process.pid} has ended",) * 2
        assert process.poll() is None
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == before


def test_what_cannot_be_undone_is_told_and_the_rest_is_done(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    (folder := tmp_path / "folder").mkdir()
    with Guardian(tmp_path / "journal") as guardian:
        guardian.hold(1, [RemoveFile(str(file)), RemoveFile(str(folder))])

        with pytest.raises(UndoFailed, match=r"RemoveFile: .*folder"):
            guardian.undo(1)
    assert not file.exists()
    (note,) = journals.read(tmp_path / "journal")
    assert isinstance(note, journals.Note)
    assert note.text.startswith("intent 1 could not be undone: RemoveFile: ")


def test_a_late_answer_of_the_guardian_is_not_taken_for_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regrow.chaos.guardian.ANSWER_S", 0.0)
    with sleeper(is_stopped=True) as process, Guardian() as guardian:
        with pytest.raises(GuardianLost):
            guardian.hold(1, [Continue(process.pid, start_time(process.pid))])  # soon it says that it holds them
        monkeypatch.setattr("regrow.chaos.guardian.ANSWER_S", WITHIN_S)

        with pytest.raises(GuardianLost):
            guardian.undo(1)


# -- undos


def test_a_store_that_was_killed_leaves_its_socket_and_needs_no_undoing(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/store.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "store.sock"))  # closed, it lies there as after SIGKILL

    assert undos.run([StoreSetting(url, "maxmemory", "0"), StoreUnpause(url, 0.0)]) == (
        ("the store has ended",) * 2,
        (),
    )


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda pid: Continue(pid, start_time(pid)), "process {pid} goes on"),
        (lambda pid: Unlimit(pid, start_time(pid), 7, 64, 64), "process {pid} has its limit of descriptors again: 64"),
        (lambda _: RemoveFile("/none/clock"), "clock is not there"),
        (lambda _: StoreSetting("unix:///none/socket", "maxmemory", "0"), "the store has ended"),
        (lambda _: HealLink("client-gateway"), "the link client-gateway is whole"),
    ],
)
def test_an_undo_can_be_done_twice(make: Callable[[int], Undo], says: str) -> None:
    with sleeper() as process:
        one = make(process.pid)

        assert one.run() == one.run()
        assert one.run().startswith(says.format(pid=process.pid))
        process.kill()
        process.wait()
        if isinstance(one, Continue | Unlimit):
            assert one.run() == f"process {process.pid} has ended"


# -- the journal


def test_a_journal_is_read_after_a_crash_has_torn_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    one = journals.Intent(1, 1, "stop", {}, None, (Continue(1, 1),), 0.0)
    two = journals.Intent(2, 2, "stop", {}, None, (Continue(2, 2),), 0.0)
    with journals.Journal(path) as journal:
        journal.write(one)
        journal.write(two)
    path.write_bytes(path.read_bytes()[:-10])

    assert journals.read(path) == [one]
    assert journals.outstanding(journals.read(path)) == [one]

    with journals.Journal(path) as journal:  # whoever goes on with it does not add to the torn line
        journal.write(journals.Undone(1, "undo", ("done",), 0.0))
    assert journals.outstanding(journals.read(path)) == []


def test_the_last_fault_is_undone_first_and_a_kill_not_at_all() -> None:
    kill = journals.Intent(1, 1, "kill", {}, None, (), 0.0)
    stops = [journals.Intent(n, n, "stop", {}, None, (Continue(n, n),), 0.0) for n in (2, 3)]

    assert journals.outstanding([kill, *stops]) == [stops[1], stops[0]]
    assert journals.outstanding([kill, *stops, journals.Undone(3, "nemesis", (), 0.0)]) == [stops[0]]


def journal_of(tmp_path: Path, *records: journals.Record) -> Path:
    with journals.Journal(tmp_path / "journal.jsonl") as journal:
        for record in records:
            journal.write(record)
    return journal.path


def said_by_undo(*words: str | Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "regrow.runtime.cli", "chaos", "undo", *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_a_damaged_journal_heals_what_can_be_read_and_says_what_cannot(tmp_path: Path) -> None:
    made = Strike(1, "stop", {}, 0.0, applied_at=1.0)
    with sleeper(is_stopped=True) as process:
        intents = [
            journals.Intent(number, 1, "stop", {}, None, (Continue(process.pid, start_time(process.pid)),), 0.0)
            for number in (1, 2)
        ]
        path = journal_of(tmp_path, *intents, journals.Applied(1, made), journals.Applied(2, made))
        path.write_bytes(path.read_bytes().replace(b'"stop"', b"\x00stop\xff", 1))

        code, said = said_by_undo(path)

        assert _status(process.pid) != "stopped"
    assert code == 1
    assert f"line 1 of {path} is damaged and was passed over\n" in said
    assert "stop was done, and how it is undone cannot be read\n" in said
    assert f"stop: process {process.pid} goes on\n" in said


def test_a_link_is_not_said_to_be_whole_while_its_run_goes_on(tmp_path: Path) -> None:
    with sleeper() as process:
        header = journals.Header("", 0, "", 1, 1, process.pid, 0.0, 0.0, start_time(process.pid))
        path = journal_of(tmp_path, header, journals.Intent(1, 1, "net.cut", {}, None, (HealLink("a-b"),), 0.0))

        assert said_by_undo(path) == (
            1,
            f"net.cut: the run that has its proxy goes on: end process {process.pid}, with Ctrl-C\n",
        )
    assert said_by_undo(path) == (0, "net.cut: the link a-b is whole: its proxy was healed, or has ended\n")


def test_undo_removes_the_directory_of_a_killed_run_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty := tmp_path / "empty.jsonl").touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with sleeper() as process:
        for word, started_at in (("killed", 1), ("running", start_time(process.pid))):
            (tmp_path / f"regrow-chaos-{process.pid}-{started_at}-{word}").mkdir()  # and it came no further

        assert said_by_undo(empty) == (0, "nothing is left to undo\n")

    assert [path.name.rpartition("-")[2] for path in tmp_path.glob("regrow-chaos-*")] == ["running"]


def test_a_journal_that_is_not_there_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "regrow.runtime.cli", "chaos", "undo", str(tmp_path / "none")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 2
    assert ended.stderr == f"regrow: there is no journal {tmp_path}/none: name a journal, or the directory of a run\n"
