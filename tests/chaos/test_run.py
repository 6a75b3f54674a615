"""``regrow chaos run``: real trees, real faults; what it says is what happened, and it leaves nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from regrow.chaos import journal
from regrow.chaos.evidence import Verdict
from regrow.chaos.history import TaskMove
from regrow.chaos.interruptions import SIGNALS, Interruptions
from regrow.chaos.report import Report, headline
from support.chaos import ChaosRun, broken, run
from support.cluster import running
from support.command import regrow
from support.processes import is_alive
from support.waiting import wait_until

KILL = """
version: 1
title: One worker dies
seed: 5
configuration: {workers: 2, slots: 2}
workload: {rate: 25, duration: 5s, mix: {noop: 0.4, sleep100ms: 0.4, raise: 0.1, large: 0.1}}
steady-state-hypothesis:
  strategy: continuous
  every: 1s
  probes:
    - {name: canary, type: task, tolerance: {type: range, range: [0, 20000], target: latency_ms}}
    - {name: ready, type: http, url: "{gateway}/readyz", tolerance: 200}
method:
  - {fault: kill, target: {role: worker, name: worker-0}, at: 2s}
settle: 40s
"""
STOP = """
version: 1
title: One worker is stopped for long
configuration: {workers: 2, slots: 1}
workload: {rate: 10, duration: 60s}
method:
  - {fault: stop, target: {role: slot}, at: 0s, for: 50s}
"""
NOT_READY = """
version: 1
title: Nothing is well
configuration: {workers: 1, slots: 1}
workload: {rate: 10, duration: 5s}
steady-state-hypothesis:
  strategy: before
  probes:
    - {name: workers, type: tree, path: /workers, tolerance: {type: min, value: 2}}
method:
  - {fault: kill, target: {role: worker}, at: 0s}
"""
TWICE_AND_CANCEL = """
version: 1
title: Submitted twice, and cancelled
configuration: {workers: 2, slots: 2}
workload: {rate: 20, duration: 4s, mix: {twice: 0.5, cancel: 0.5}}
method:
  - {fault: kill, target: {role: gateway}, at: 2s}
settle: 40s
"""
ROOT = """
version: 1
title: The root dies
configuration: {workers: 2, slots: 2}
workload: {rate: 20, duration: 8s, mix: {noop: 0.5, sleep100ms: 0.5}}
method:
  - {fault: kill, target: {role: root}, at: 2s}
settle: 60s
"""
CUT_OFF = """
version: 1
title: Nobody is let in
configuration: {workers: 1, slots: 1}
workload: {rate: 10, duration: 60s}
method:
  - {fault: net.cut, link: client-gateway, at: 1s, for: 50s}
stop_when: {gateway_down: 1s}
"""
EVERYBODY = """
version: 1
title: Everybody dies once
configuration: {workers: 2, slots: 2}
workload: {rate: 20, duration: 10s, mix: {noop: 0.6, sleep100ms: 0.3, poison: 0.05, once: 0.05}, arrivals: bursts}
method:
  - {fault: kill, target: {role: dispatcher}, at: 1s}
  - {fault: kill, target: {role: gateway}, at: 3s}
  - {fault: kill, target: {role: store}, at: 5s}
  - {fault: kill, target: {role: supervisor}, at: 7s}
settle: 60s
"""
ZOMBIES = """
version: 1
title: Half of the workers are not heard, and then heard with what they have done meanwhile
configuration: {workers: 2, slots: 2}
workload: {rate: 6, duration: 6s, mix: {sleep1s: 1}}
method:
  - {fault: net.one_way, link: worker-dispatcher, way: out, half: true, at: 1s, for: 3.6s}
settle: 60s
"""
BROKEN = """
version: 1
title: Is it seen?
seed: 1
configuration: {workers: 2, slots: 2}
workload: {rate: 3, duration: 5s, mix: {sleep1s: 1}, arrivals: constant}
method:
  - {fault: kill, target: {role: ROLE, pick: all, while: WHILE}, at: 3s}
settle: 6s
"""
# Two mechanisms put a lost task back: the requeue, and the search for tasks that nobody has.
NO_REQUEUE = (
    ("actors/lua/settle.lua", "requeued[#requeued + 1] = id", "-- forgotten"),
    ("actors/dispatch.py", "self.search.begin(pulse.signs, now)", "pass"),
)
NOT_KEPT = (("actors/embedded.py", '"appendonly": "yes"', '"appendonly": "no"'),)


def test_a_killed_worker_costs_nothing_and_three_sources_agree(tmp_path: Path) -> None:
    ended = run(tmp_path, KILL, "--no-baseline")

    assert ended.code() in (0, 2), ended.text  # 2: the worker happened to be idle at that moment
    evidence = ended.dossier.evidence()
    acknowledged = {op.task_id for op in evidence.ops if op.action == "submit" and op.type == "ok"}
    final = {op.task_id: op for op in evidence.ops if op.action == "final" and op.type == "ok"}
    moves = {move.task_id for move in evidence.moves if isinstance(move, TaskMove)}
    runs = {mark.run for mark in evidence.marks}
    assert len(acknowledged) > 100
    assert acknowledged == set(final) == moves
    assert {op.run for op in final.values()} <= runs
    assert {op.number for op in final.values()} == {mark.number for mark in evidence.marks}
    assert len(evidence.strikes) == 1
    assert evidence.strikes[0].victim is not None
    assert evidence.began + 2 <= (evidence.strikes[0].applied_at or 0) <= evidence.ended
    assert {sample.phase for sample in evidence.samples} == {"before", "during", "after"}
    assert evidence.before is not None
    assert evidence.after is not None
    assert evidence.after.tree.find("root/workers/worker-0").incarnation == 2  # type: ignore[union-attr]
    assert evidence.record_is_whole
    assert evidence.orphans == ()
    assert all(judged.verdict is not Verdict.INVALID for judged in ended.dossier.findings().judgements)
    assert_reported(ended)


def test_tasks_are_submitted_twice_and_cancelled_as_their_kinds_say(tmp_path: Path) -> None:
    ended = run(tmp_path, TWICE_AND_CANCEL, "--no-baseline")

    assert ended.code() in (0, 2), ended.text
    evidence = ended.dossier.evidence()
    answered = [op for op in evidence.ops if op.type == "ok"]
    ids: dict[int, list[str]] = {}
    for op in answered:
        if op.kind == "twice" and op.action == "submit":
            ids.setdefault(op.number, []).append(op.task_id)
    assert sum(len(given) == 2 for given in ids.values()) > 10
    assert all(len(set(given)) == 1 for given in ids.values())
    cancelled = {op.number for op in answered if op.action == "cancel" and op.error_kind == "cancelled"}
    assert len(cancelled) > 10
    assert cancelled & {mark.number for mark in evidence.marks}, "none was cancelled while it ran"


def assert_reported(ended: ChaosRun) -> None:
    """In three forms that say the same, and again the same when they are asked for once more."""
    told = msgspec.json.decode((ended.dossier.path / "report.json").read_bytes(), type=Report)
    page, text = ((ended.dossier.path / name).read_text() for name in ("report.html", "report.md"))
    assert told.findings == ended.dossier.findings()
    assert told.facts.command.endswith("experiment.yaml --seed 5")
    assert f"# One worker dies: {told.findings.verdict}" in text
    assert headline(told) in page
    assert str(ended.dossier.path / "report.html") in ended.text

    (ended.dossier.path / "report.html").unlink()
    again = regrow("chaos", "report", str(ended.dossier.path))
    assert again.returncode == ended.code()
    assert (ended.dossier.path / "report.html").read_text() == page


def test_where_the_steady_state_is_not_there_nothing_is_done(tmp_path: Path) -> None:
    ended = run(tmp_path, NOT_READY, "--no-baseline")

    assert ended.code() == 3
    assert "the steady state was not there before the method, so nothing was done (workers: 1)" in ended.text
    records = journal.read(ended.dossier.journal)
    assert [type(record) for record in records] == [journal.Header]
    assert not [mark for mark in ended.dossier.marks() if mark.number > 0]  # the canary, and no workload


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_run_leaves_nothing_stopped_and_says_so(tmp_path: Path, number: signal.Signals) -> None:
    with ChaosRun(tmp_path, STOP, "--no-baseline") as begun:
        applied = wait_until(lambda: strikes(begun), 60, "the fault was made")
        pid = applied[0].victim.pid

        os.killpg(begun.process.pid, number)

        assert begun.code() == 3
    assert f"broken off: interrupted by {number.name}" in begun.text
    evidence = begun.dossier.evidence()
    assert evidence.strikes[0].undone_at is not None
    assert evidence.ended < evidence.began + 40  # long before its time
    assert not is_alive(pid)
    assert evidence.orphans == ()


@pytest.mark.parametrize(("moment", "flags"), [("a tree comes up", ["--no-baseline"]), ("without faults", [])])
def test_an_interruption_before_the_method_leaves_nothing(tmp_path: Path, moment: str, flags: list[str]) -> None:
    with ChaosRun(tmp_path, STOP, *flags) as begun:
        wait_until(lambda: moment in begun.text, 60, "it has begun")

        for _ in range(3):  # an impatient user
            begun.interrupt()

        assert begun.code() == 3
        assert "interrupted" in begun.text
        assert not strikes(begun)


def test_a_run_whose_reader_goes_away_goes_on_and_has_its_own_exit_code(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    (tmp_path / "experiment.yaml").write_text(NOT_READY)
    words = [sys.executable, "-m", "regrow.runtime.cli", "chaos", "run", "experiment.yaml", "--no-baseline"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(reading)
        os.close(writing)
        said = process.communicate(timeout=100)[1].decode()

    assert process.returncode == 3
    assert "the steady state was not there" in said
    assert "Traceback" not in said


def test_whoever_interrupts_again_does_not_break_off_what_is_tidied_up() -> None:
    steps: list[str] = []

    def interrupted() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            steps.append("first")
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("last")

    with pytest.raises(KeyboardInterrupt), Interruptions():
        interrupted()

    assert steps == ["first", "last"]


def test_what_a_block_tidies_up_at_its_end_is_not_broken_off_by_the_first_interruption_either() -> None:
    steps: list[str] = []

    @contextmanager
    def block() -> Iterator[None]:
        yield
        os.kill(os.getpid(), signal.SIGHUP)
        steps.append("tidied up")

    with Interruptions() as interruptions:
        with interruptions.tidied(block()):
            pass
        steps.append("and on")
        with pytest.raises(KeyboardInterrupt):
            interruptions.check()

    assert steps == ["tidied up", "and on"]


def test_the_last_interruptions_stay_without_effect_so_that_the_exit_code_is_not_lost() -> None:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        with Interruptions(is_last=True):
            pass
        assert {signal.getsignal(number) for number in SIGNALS} == {signal.SIG_IGN}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_hang_up_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruptions():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_tree_that_does_not_allow_it_is_left_alone(tmp_path: Path) -> None:
    with running(tmp_path / "tree", "--workers", "1", "--slots", "1") as cluster:
        before = cluster.shape()

        ended = run(tmp_path, KILL, "--url", cluster.url)

        assert ended.code() == 3
        assert "does not allow chaos: start it with 'regrow up --allow-chaos'" in ended.text
        assert cluster.shape() == before
        assert cluster.get("/metrics").text.count("regrow_tasks_submitted_total 0") == 1


@pytest.mark.parametrize(
    ("bug", "role", "doing", "changes"),
    [
        ("a lost requeue", "worker", "running_task", NO_REQUEUE),
        ("acknowledged before it is kept", "store", "anything", NOT_KEPT),
    ],
)
def test_a_regrow_that_is_broken_on_purpose_is_said_to_be_invalid(
    tmp_path: Path, bug: str, role: str, doing: str, changes: tuple[tuple[str, str, str], ...]
) -> None:
    variables = broken(tmp_path, *changes)

    ended = run(tmp_path, BROKEN.replace("ROLE", role).replace("WHILE", doing), "--no-baseline", variables=variables)

    assert ended.code() == 1, f"{bug}: {ended.text}"
    violated = {each.invariant for each in ended.dossier.findings().judgements if each.verdict is Verdict.INVALID}
    assert "no_lost" in violated


def test_the_same_run_of_a_whole_regrow_is_valid(tmp_path: Path) -> None:
    ended = run(tmp_path, BROKEN.replace("ROLE", "worker").replace("WHILE", "running_task"), "--no-baseline")

    assert ended.code() == 0, ended.text


def test_a_dry_run_prints_the_same_plan_each_time_and_does_nothing(tmp_path: Path) -> None:
    first, second = (run(tmp_path / name, KILL, "--dry-run") for name in ("first", "second"))

    assert first.code() == 0
    assert first.text == second.text
    assert "One worker dies, seed 5: 1 fault\n" in first.text
    assert "2.000 s" in first.text
    assert not first.dossier.path.exists()


@pytest.mark.slow
def test_the_record_is_followed_whoever_dies(tmp_path: Path) -> None:
    ended = run(tmp_path, EVERYBODY, "--no-baseline")

    assert ended.code() in (0, 2), ended.text
    evidence = ended.dossier.evidence()
    acknowledged = {op.task_id for op in evidence.ops if op.action == "submit" and op.type == "ok"}
    moves = {move.task_id for move in evidence.moves if isinstance(move, TaskMove)}
    assert len([strike for strike in evidence.strikes if strike.applied_at is not None]) == 4
    assert evidence.record_is_whole
    assert acknowledged <= moves
    assert ended.dossier.findings().accounting.lost == 0


@pytest.mark.slow
def test_an_outcome_of_a_former_attempt_is_seen_where_nothing_refuses_it(tmp_path: Path) -> None:
    check = "local is_ours = task.attempt == attempt and task.owner == dispatcher"
    variables = broken(tmp_path, ("actors/lua/settle.lua", check, "local is_ours = task.owner == dispatcher"))

    with_check = run(tmp_path / "right", ZOMBIES, "--no-baseline")
    without = run(tmp_path / "wrong", ZOMBIES, "--no-baseline", variables=variables)

    assert with_check.code() == 0, with_check.text
    assert without.code() == 1, without.text
    assert "what is stored of it does not fit together" in without.text  # the outcome names the attempt that made it


@pytest.mark.slow
def test_a_killed_root_is_started_again_on_the_same_store(tmp_path: Path) -> None:
    ended = run(tmp_path, ROOT, "--no-baseline")

    assert ended.code() in (0, 2), ended.text
    evidence = ended.dossier.evidence()
    strike = evidence.strikes[0]
    assert strike.victim is not None
    assert strike.victim.role == "root"
    assert evidence.after is not None
    assert evidence.after.tree.pid != strike.victim.pid
    assert ended.dossier.findings().accounting.lost == 0
    assert evidence.orphans == ()


@pytest.mark.slow
def test_a_stop_condition_ends_the_run_and_everything_is_undone(tmp_path: Path) -> None:
    ended = run(tmp_path, CUT_OFF, "--no-baseline")

    assert ended.code() == 3
    assert "broken off: the gateway has not answered for 1 s" in ended.text
    evidence = ended.dossier.evidence()
    assert evidence.ended - evidence.began < 20
    assert evidence.strikes[0].undone_at is not None


@pytest.mark.slow
def test_what_a_killed_run_leaves_is_healed_at_once_and_swept_by_the_next(
    tmp_path: Path, temporary_directory: Path
) -> None:
    with ChaosRun(tmp_path / "killed", STOP, "--no-baseline") as begun:
        applied = wait_until(lambda: strikes(begun), 60, "the fault was made")
        begun.process.kill()
        begun.process.wait()
    wait_until(lambda: not is_alive(applied[0].victim.pid), 10, "the tree has shared its fate")
    wait_until(lambda: not journal.outstanding(journal.read(begun.dossier.journal)), 10, "its fault is undone")
    assert len(list(temporary_directory.glob("regrow-chaos-*"))) == 1

    run(tmp_path / "next", NOT_READY, "--no-baseline")

    assert not list(temporary_directory.glob("regrow-chaos-*"))


@pytest.mark.slow
def test_the_twin_has_the_same_submits_and_no_faults(tmp_path: Path) -> None:
    ended = run(tmp_path, KILL)

    assert ended.code() in (0, 2), ended.text
    evidence, twin = ended.dossier.evidence(), ended.dossier.baseline().evidence()
    kinds = {op.number: op.kind for op in twin.ops if op.action == "submit"}
    dues = [op.due - twin.began for op in twin.ops if op.due is not None and op.due >= twin.began]
    faulty = [op.due - evidence.began for op in evidence.ops if op.due is not None and op.due >= evidence.began]
    assert twin.strikes == ()
    assert len(kinds) > 100
    assert {round(due, 3) for due in dues} <= {round(due, 3) for due in faulty}  # which has canaries besides


def strikes(begun: ChaosRun) -> list[Any]:
    """Those that were made so far."""
    if not begun.dossier.journal.exists():
        return []
    records = journal.read(begun.dossier.journal)
    made = [record.strike for record in records if isinstance(record, journal.Applied)]
    return [strike for strike in made if strike.applied_at is not None]
