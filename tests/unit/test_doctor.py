"""What the doctor makes of facts: a table of what is well, and of each thing that can be wrong."""

from typing import Any

import msgspec
import pytest

from regrow.actors.doctor import GIB, MIB, DataDir, Facts, Level, Limits, Machine, Software, StoreVitals, TreeState
from regrow.actors.doctor_checks import CHECKS, examine, is_well
from regrow.actors.task import WorkerId, WorkerRecord

DURABLE = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "maxmemory": "0"}
STORE = StoreVitals("unix:///s", version="9.1.2", settings=DURABLE)
WORKER = WorkerRecord(WorkerId("w"), "worker-0", "here", 1, "push", 2, 0, 1.0, "3.11.7", "0.4.1")
TREE = TreeState("4711", has_endpoints=True, gateway="http://127.0.0.1:8000", workers=(WORKER,))
WELL = Facts(
    STORE,
    DataDir("/data", flush_s=0.001),
    Limits(1024, 65536, 30_000),
    Machine("6.1", swap_bytes=GIB),
    Software("3.11.7", ("3.11", "3.12"), {"dill": "0.4.1", "redis": "8.1.0"}, {"dill": "0.3.9", "redis": "5.2"}),
    TREE,
    workers=2,
    slots=2,
)
NO_TREE = TreeState()


def but(**changes: Any) -> Facts:
    """The facts of a machine on which all is well, but for these: ``part__field`` or ``part``."""
    facts = WELL
    for name, value in changes.items():
        part, _, field = name.partition("__")
        if field:
            value = msgspec.structs.replace(getattr(facts, part), **{field: value})
        facts = msgspec.structs.replace(facts, **{part: value})
    return facts


def settings(**changes: str) -> dict[str, str]:
    return DURABLE | {name.replace("_", "-"): value for name, value in changes.items()}


def test_where_all_is_well_there_is_nothing_to_do() -> None:
    findings = examine(WELL)

    assert [finding for finding in findings if finding.level is not Level.OK or finding.fix] == []
    assert len(findings) == len(CHECKS)
    assert len({finding.check for finding in findings}) == len(findings)
    assert is_well(findings)


UNREADABLE = {"maxmemory-policy": "noeviction"}
NEARLY_FULL = msgspec.structs.replace(STORE, settings=settings(maxmemory=str(GIB)), used_bytes=900 * MIB)
SMALL = msgspec.structs.replace(WELL.machine, available_bytes=8 * GIB)
NEWER, OLDER = msgspec.structs.replace(WORKER, python="3.12.1"), msgspec.structs.replace(WORKER, dill="0.3.9")
WARNING, PROBLEM = Level.WARNING, Level.PROBLEM
TABLE = [
    ("store", PROBLEM, "does not answer", "--redis-url", but(store__problem="the store does not answer")),
    ("store", PROBLEM, "Redis 6.0.9", "6.2", but(store__server="redis", store__version="6.0.9")),
    ("store", PROBLEM, "slave", "master", but(store__role="slave")),
    ("store", PROBLEM, "no embedded store", "--redis-url", but(store=StoreVitals(), software__embedded="there is no embedded store")),
    ("durability", PROBLEM, "every task", "appendonly yes", but(store__is_append_only=False, store__settings=settings(save=""))),
    ("durability", PROBLEM, "30 s", "appendfsync always", but(store__settings=settings(appendfsync="no"))),
    ("durability", WARNING, "last second", "appendfsync always", but(store__settings=settings(appendfsync="everysec"))),
    ("durability", WARNING, "not known", "appendfsync always", but(store__settings=UNREADABLE)),
    ("store's file", PROBLEM, "refuses new tasks", "space", but(store__last_write="err")),
    ("store's file", WARNING, "only grows", "space", but(store__last_rewrite="err")),
    ("eviction", PROBLEM, "allkeys-lru", "noeviction", but(store__settings=settings(maxmemory_policy="allkeys-lru"))),
    ("eviction", WARNING, "cannot be read", "noeviction", but(store__settings=settings(maxmemory_policy=""))),
    ("store's memory", WARNING, "900 MiB of 1.0 GiB", "raise maxmemory", but(store=NEARLY_FULL)),
    ("open tasks", PROBLEM, "2 are in no queue", "start a dispatcher", but(store__missing=3, store__given_up=1)),
    ("open tasks", WARNING, "records of 3 have gone", "submit them again", but(store__missing=3, store__given_up=3)),
    ("data directory", PROBLEM, "read-only file system", "--data-dir", but(data_dir__problem="read-only file system")),
    ("data directory", WARNING, "tmpfs", "--data-dir", but(data_dir__filesystem="tmpfs")),
    ("data directory", WARNING, "nfs4", "local disk", but(data_dir__filesystem="nfs4")),
    ("data directory", WARNING, "200 ms", "SSD", but(data_dir__flush_s=0.2)),
    ("disk space", PROBLEM, "100 MiB", "make room", but(data_dir__free_bytes=100 * MIB)),
    ("disk space", WARNING, "1.0 GiB", "make room", but(data_dir__free_bytes=GIB)),
    ("kernel", PROBLEM, "pidfd", "5.4", but(machine__missing=("pidfd",))),
    ("open files", PROBLEM, "200 slots", "ulimit -n 4096", but(limits__open_files=1024, slots=200)),
    ("open files", WARNING, "1024", "LimitNOFILE", but(limits__most_open_files=1024)),
    ("processes", PROBLEM, "20 more", "72 are needed", but(limits__processes_left=20)),
    ("memory", PROBLEM, "50 MiB", "fewer --slots", but(machine__available_bytes=50 * MIB)),
    ("memory", WARNING, "200 MiB", "fewer --slots", but(machine__available_bytes=200 * MIB)),
    ("swap", WARNING, "900 MiB", "more memory", but(machine__swap_used_bytes=900 * MIB)),
    ("overcommit", WARNING, "is 2", "vm.overcommit_memory=1", but(machine__overcommit=2)),
    ("overcommit", WARNING, "more than is available", "vm.overcommit_memory=1", but(store__used_bytes=9 * GIB, machine=SMALL)),
    ("huge pages", WARNING, "stalls", "madvise", but(machine__huge_pages="always", store__settings=settings(disable_thp="no"))),
    ("clock", WARNING, "acpi_pm", "available_clocksource", but(machine__clocksource="acpi_pm")),
    ("store's clock", WARNING, "-7.0 s", "NTP", but(store__ahead_s=-7.0)),
    ("python", WARNING, "3.9.1", "3.11 to 3.12", but(software__python="3.9.1", tree=NO_TREE)),
    ("packages", PROBLEM, "redis 4.6.0 (needed: 5.2)", "pip install", but(software__found={"dill": "0.4.1", "redis": "4.6.0"})),
    ("packages", PROBLEM, "redis missing", "pip install", but(software__found={"dill": "0.4.1"})),
    ("workers' versions", WARNING, "Python 3.12", "same Python", but(tree__workers=(WORKER, NEWER))),
    ("workers' versions", WARNING, "dill 0.3.9", "and dill", but(tree__workers=(OLDER,))),
    ("tree", WARNING, "was killed", "regrow up", but(tree=TreeState(has_endpoints=True))),
    ("tree", WARNING, "4711", "wait", but(tree=TreeState("4711"))),
    ("tree", PROBLEM, "refused", "log", but(tree__problem="connection refused")),
    ("tree", PROBLEM, "no dispatcher", "regrow tree", but(tree__shortcomings=("no dispatcher has beaten within 3 s",))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "level", "says", "fix", "facts"), TABLE, ids=[f"{row[0]}: {row[2]}" for row in TABLE]
)
def test_what_is_wrong_is_named_with_its_meaning_and_its_fix(
    check: str, level: Level, says: str, fix: str, facts: Facts
) -> None:
    findings = examine(facts)
    wrong = [finding for finding in findings if finding.level is not Level.OK]

    assert [(finding.check, finding.level) for finding in wrong] == [(check, level)], "that, and nothing else"
    assert says in wrong[0].says
    assert fix in wrong[0].fix
    assert is_well(findings) is (level is WARNING)


def test_every_check_can_find_something() -> None:
    assert {row[0] for row in TABLE} == {finding.check for finding in examine(WELL)}


def test_without_a_store_of_its_own_the_embedded_one_is_promised() -> None:
    facts = but(store=StoreVitals(), tree=NO_TREE)

    assert is_well(examine(facts))
    assert "embedded" in next(finding.says for finding in examine(facts) if finding.check == "store")
    assert "durability" not in {finding.check for finding in examine(facts)}
