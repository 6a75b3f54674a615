"""Any signal to any process of the tree, in each mode, while tasks run, wait and are being stored.

Every acknowledged task ends once, with its value; the tree is whole again without a hand on it; what had nothing to do with
the work does not make it run again.

A bare run takes each victim and signal once, in the mode and phase that ``MATRIX`` pairs it with; ``-m slow`` takes all.
"""

import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
import requests

from support.cluster import Cluster, running, send
from support.load import Load, assert_all_ended_once, submit_all
from support.processes import is_alive, is_stopped
from support.waiting import wait_until
from support.witness import Witness

KILL, TERM, STOP = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP
SIGNALS: Final = (KILL, TERM, STOP)
MODES: Final = ("push", "pull", "local")
PHASES: Final = ("running", "queued", "stored")
SLOTS: Final = 4

# "server" is the valkey-server process; "store" the actor that owns it, "supervisor" the one of the workers.
MATRIX: Final = {
    #              SIGKILL           SIGTERM           SIGSTOP, and SIGCONT 10 s later
    "slot": ("push running", "pull queued", "local stored"),
    "worker": ("pull queued", "local stored", "push running"),
    "supervisor": ("local running", "push queued", "pull stored"),
    "dispatcher": ("push stored", "pull running", "local queued"),
    "gateway": ("local queued", "push stored", "pull running"),
    "store": ("pull running", "local queued", "push stored"),
    "server": ("local stored", "push running", "pull queued"),
    "root": ("pull stored", "local running", "push queued"),
}

# The promises, in seconds, for a machine with nothing else to do.
BACK_S: Final = {"slot": 1.0, "worker": 1.5, "supervisor": 2.0, "dispatcher": 1.0, "gateway": 1.5, "store": 2.0} | {
    "server": 2.0,
    "root": 0.0,  # it never goes, or its tree ends
}
SILENCE_S: Final = 3.3  # from the last beat to being declared lost
SILENCE_AT_LEAST_S: Final = 1.9  # three beats, of which the last one may have been up to a second before the signal
SERVER_STOPPED_S: Final = 4.3  # a server is looked at once a second, and killed when it has been stopped for three
DRAIN_S: Final = 10.0  # a process that is asked to end may finish what runs for so long
GONE_S: Final = 2.0  # after the root is killed, nothing of the tree is left
SLACK: Final = 5  # two loaded cores may take so many times as long
FROZEN_S: Final = 10.0

AT_WORK: Final = ("slot", "worker", "supervisor")  # a task that runs there ends with them


@dataclass
class Work:
    """What the cluster does while it is hurt. ``acknowledged`` grows as long as the load goes on."""

    witness: Witness
    acknowledged: dict[str, int] = field(default_factory=dict)
    load: Load | None = None

    def again(self) -> int:
        """How many more runs were begun than tasks."""
        starts = self.witness.starts()
        return sum(starts[number] - 1 for number in self.acknowledged.values())


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Cluster]]:
    """One tree per mode; whatever is done to them, they are whole for the next test."""
    with ExitStack() as stack:
        yield {
            mode: stack.enter_context(running(tmp_path_factory.mktemp(mode), "--mode", mode, *flags()))
            for mode in MODES
        }


def flags() -> tuple[str, ...]:
    return "--workers", "2", "--slots", "2"


@contextmanager
def at_work(cluster: Cluster, phase: str) -> Iterator[Work]:
    """Slots that run one task each, or with a queue behind them, or so short ones that outcomes are stored all the time."""
    work = Work(Witness(cluster.data_dir / f"witness-{uuid.uuid4()}"))
    function_id = cluster.register(work.witness.work)
    if phase == "stored":
        with Load(cluster, function_id, 100.0) as work.load:
            wait_until(lambda: len(work.witness.ends()) > 20, 20, "outcomes are being stored")
            yield work
        work.acknowledged = work.load.acknowledged
        return
    count, seconds = (SLOTS, 1.0) if phase == "running" else (6 * SLOTS, 0.25)
    work.acknowledged = submit_all(cluster, function_id, range(count), seconds)
    wait_until(lambda: len(work.witness.at_work()) == SLOTS, 20, "every slot is at work")
    yield work


def victim_of(cluster: Cluster, name: str, work: Work) -> tuple[str, int]:
    """Path and pid of the process; of a slot or worker that is at work, where that lasts."""
    if name == "server":
        store = cluster.node("root/store")
        return store["path"], int(store["facts"]["server_pid"])
    busy = {run.pid for run in work.witness.at_work()}

    def is_busy(node: dict) -> bool:
        return node["pid"] in busy or any(map(is_busy, node["children"]))

    nodes = sorted(cluster.of_role(name), key=is_busy)
    return nodes[-1]["path"], nodes[-1]["pid"]


def deadline_s(victim: str, number: signal.Signals) -> float:
    """How long it may take until the tree is whole."""
    noticed_s = {KILL: 0.0, TERM: DRAIN_S / SLACK, STOP: SERVER_STOPPED_S if victim == "server" else SILENCE_S}[number]
    return SLACK * (noticed_s + BACK_S[victim])


def cell(name: str, number: signal.Signals, mode: str, phase: str) -> object:
    return pytest.param(name, number, mode, phase, id=f"{number.name}-{name}-{mode}-{phase}")


CELL: Final = ("name", "number", "mode", "phase")
PAIRED: Final = [
    cell(name, number, *place.split())
    for name, places in MATRIX.items()
    for number, place in zip(SIGNALS, places, strict=True)
    if name != "root" or number is STOP
]
ALL: Final = [
    cell(name, number, mode, phase)
    for name, number, mode, phase in product(MATRIX, SIGNALS, MODES, PHASES)
    if name != "root" or number is STOP
]


@pytest.mark.parametrize(CELL, PAIRED)
def test_whatever_is_signalled_no_task_is_lost_and_the_tree_is_whole_again(
    trees: dict[str, Cluster], name: str, number: signal.Signals, mode: str, phase: str
) -> None:
    hurt(trees[mode], phase, name, number)


@pytest.mark.slow
@pytest.mark.parametrize(CELL, ALL)
def test_whatever_is_signalled_in_every_mode_and_phase(
    trees: dict[str, Cluster], name: str, number: signal.Signals, mode: str, phase: str
) -> None:
    hurt(trees[mode], phase, name, number)


def hurt(cluster: Cluster, phase: str, name: str, number: signal.Signals) -> None:
    """One cell."""
    before = wait_until(lambda: whole(cluster), 10, "the tree is whole")

    with at_work(cluster, phase) as work:
        path, pid = victim_of(cluster, name, work)
        with frozen(pid) if number is STOP else nullcontext():
            hit_at = time.monotonic()
            if number is not STOP:
                send(pid, number)
            if name == "root":
                assert_work_goes_on_without(cluster, pid, work)
            else:
                wait_until(lambda: not is_alive(pid), deadline_s(name, number), f"{path} ({pid}) is dead")
        without = None if name == "root" else pid
        after = wait_until(lambda: whole(cluster, without), deadline_s(name, number), "the tree is whole again", 0.05)
        whole_s = time.monotonic() - hit_at - (FROZEN_S if name == "root" else 0.0)

    assert whole_s < deadline_s(name, number)
    assert number is not STOP or name == "root" or whole_s >= SILENCE_AT_LEAST_S, "judged before its time"
    tasks = assert_all_ended_once(cluster, work.witness, work.acknowledged)
    assert_ran_again_only_where_it_died(work, phase, name, number)
    assert all(len(task["attempts"]) <= 2 for task in tasks.values())
    assert_only_it_was_replaced(before, after, path, name)


Picture = dict[str, dict[str, Any]]  # the tree's nodes by their paths


def whole(cluster: Cluster, without: int | None = None) -> Picture | None:
    """The tree as it is, if all that there should be runs and works, and this process is no more part of it."""
    try:
        picture = {node["path"]: node for node in cluster.nodes()}
    except (requests.RequestException, KeyError, ValueError):
        return None
    is_complete = sum(node["role"] == "slot" for node in picture.values()) == SLOTS
    is_running = all(node["state"] == "running" for node in picture.values())
    return picture if is_complete and is_running and without not in pids_in(picture) and cluster.is_ready() else None


def pids_in(picture: Picture) -> set[int]:
    """Every process of the tree."""
    servers = {int(node["facts"]["server_pid"]) for node in picture.values() if "server_pid" in node["facts"]}
    return {node["pid"] for node in picture.values()} | servers


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stopped, and continued after FROZEN_S if it still exists then; at the latest at the end of the block."""
    process = psutil.Process(pid)

    def thaw() -> None:
        with suppress(psutil.NoSuchProcess):  # also when another one has its number now
            process.resume()

    timer = threading.Timer(FROZEN_S, thaw)
    process.suspend()
    wait_until(lambda: is_stopped(pid), 2, f"{pid} stands still")
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        thaw()


def assert_work_goes_on_without(cluster: Cluster, root: int, work: Work) -> None:
    """Nothing but the care of the tree needs its root."""
    assert is_stopped(root)
    assert_all_ended_once(cluster, work.witness, dict(work.acknowledged), FROZEN_S)
    assert is_stopped(root), "all that while it stood still"
    wait_until(lambda: not is_stopped(root), FROZEN_S + 1, "the root goes on")


def assert_ran_again_only_where_it_died(work: Work, phase: str, name: str, number: signal.Signals) -> None:
    again = work.again()
    if name not in AT_WORK or (number is TERM and name != "slot"):
        assert again == 0, "what runs goes on while another part is away, and is finished by who is asked to end"
    elif phase != "stored":
        most = {"slot": 1, "worker": 2, "supervisor": SLOTS}[name]
        least = 0 if name == "supervisor" and number is STOP else 1  # its workers go on until it is declared lost
        assert least <= again <= most, "exactly what ran there runs again"


def assert_only_it_was_replaced(before: Picture, after: Picture, path: str, name: str) -> None:
    """Nobody else came to harm, but for those below it."""
    assert after.keys() == before.keys()
    replaced = {at for at, node in after.items() if node["pid"] != before[at]["pid"]}
    below = {at for at in before if at == path or at.startswith(f"{path}/")}
    assert replaced == (set() if name == "root" else below)
    if name not in ("root", "slot"):
        assert after[path]["restarts"] == before[path]["restarts"] + 1


def test_every_process_of_the_tree_is_a_victim_of_the_matrix(tmp_path: Path) -> None:
    with running(tmp_path / "data", *flags()) as cluster:
        picture = wait_until(lambda: whole(cluster), 10, "the tree is whole")
        processes = {
            cluster.process.pid,
            *(it.pid for it in psutil.Process(cluster.process.pid).children(recursive=True)),
        }

    assert processes == pids_in(picture)
    assert {node["role"] for node in picture.values()} | {"server"} == set(MATRIX)


def of_root(number: signal.Signals) -> tuple[str, ...]:
    return tuple(MATRIX["root"][SIGNALS.index(number)].split())


ROOT_CELLS: Final = [pytest.param(*of_root(number), number, id=number.name) for number in (KILL, TERM)]
ALL_ROOT_CELLS: Final = [
    pytest.param(mode, phase, number, id=f"{number.name}-{mode}-{phase}")
    for mode, phase, number in product(MODES, PHASES, (KILL, TERM))
]


@pytest.mark.parametrize(("mode", "phase", "number"), ROOT_CELLS)
def test_a_root_that_ends_leaves_nothing_behind_and_the_next_up_resumes_everything(
    tmp_path: Path, mode: str, phase: str, number: signal.Signals
) -> None:
    end_root(tmp_path, mode, phase, number)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "phase", "number"), ALL_ROOT_CELLS)
def test_a_root_that_ends_in_every_mode_and_phase(
    tmp_path: Path, mode: str, phase: str, number: signal.Signals
) -> None:
    end_root(tmp_path, mode, phase, number)


def end_root(tmp_path: Path, mode: str, phase: str, number: signal.Signals) -> None:
    """One cell of those in which the whole tree ends."""
    first = Cluster(tmp_path / "data", "--mode", mode, *flags()).wait_ready()
    try:
        with at_work(first, phase) as work:
            processes = psutil.Process(first.process.pid).children(recursive=True)
            hit_at = time.monotonic()
            send(first.process.pid, number)
            code = first.process.wait(DRAIN_S * SLACK if number is TERM else GONE_S)
            ended_at = time.monotonic()
            wait_until(lambda: not any(map(lives, processes)), GONE_S, "no process of the tree is left")
            gone_s = time.monotonic() - ended_at
    finally:
        first.kill()

    assert code == (0 if number is TERM else -KILL)
    assert gone_s < GONE_S if number is KILL else ended_at - hit_at < DRAIN_S + BACK_S["store"] * SLACK
    with running(tmp_path / "data", "--mode", mode, *flags()) as second:
        assert_all_ended_once(second, work.witness, work.acknowledged)
    assert number is KILL or work.again() == 0, "a root that is asked to end lets running tasks finish"


def lives(process: psutil.Process) -> bool:
    return process.is_running() and is_alive(process.pid)
