"""Core: what the facts of a machine mean for regrow's promises.

Theory of operation. Each check turns the facts into one finding; ``examine`` runs them in the order in which a person should read
them: what could lose tasks, then what could stop the work, then what could slow it down. A *problem* means that a promise does
not hold, or that regrow cannot run; a *warning*, that it may come to that or costs time.
"""

from collections.abc import Callable
from typing import Final

from regrow.actors import doctor_machine as machine
from regrow.actors import doctor_store as store
from regrow.actors.doctor import Facts, Finding, Level, numbers, ok, problem, warning


def examine(facts: Facts) -> list[Finding]:
    """All findings."""
    return [finding for check in CHECKS for finding in [check(facts)] if finding is not None]


def is_well(findings: list[Finding]) -> bool:
    """Nothing endangers the promises."""
    return all(finding.level is not Level.PROBLEM for finding in findings)


def python(facts: Facts) -> Finding:
    """One that regrow is tested with?"""
    it = facts.software
    minor = ".".join(it.python.split(".")[:2])
    if it.tested and minor not in it.tested:
        return warning(
            "python", f"{it.python} is not among the tested ones", f"use Python {it.tested[0]} to {it.tested[-1]}"
        )
    return ok("python", it.python)


def packages(facts: Facts) -> Finding:
    """New enough?"""
    it = facts.software
    old = [
        f"{name} {it.found.get(name) or 'missing'} (needed: {least})"
        for name, least in it.needed.items()
        if numbers(it.found.get(name, "")) < numbers(least)
    ]
    if old:
        return problem("packages", "too old: " + ", ".join(old), "pip install --upgrade regrow")
    return ok("packages", ", ".join(f"{name} {version}" for name, version in it.found.items()))


def alike(facts: Facts) -> Finding | None:
    """Functions are pickled here and loaded there: do all workers have the same versions?"""
    workers = facts.tree.workers
    if not workers:
        return None
    kinds = {(".".join(worker.python.split(".")[:2]), worker.dill) for worker in workers}
    ours = (".".join(facts.software.python.split(".")[:2]), facts.software.found.get("dill", ""))
    names = ", ".join(f"Python {version} with dill {dill}" for version, dill in sorted(kinds | {ours}))
    if kinds != {ours}:
        says = f"there are {names}, here and in the workers: a function of one may not load in another"
        return warning("workers' versions", says, "install the same Python minor version and dill everywhere")
    return ok("workers' versions", f"{names}, in all {len(workers)} workers")


# The tree


def tree(facts: Facts) -> Finding:
    """Does it run, and run well?"""
    it, path = facts.tree, facts.data_dir.path
    if not it.holder:
        if it.has_endpoints:
            return warning(
                "tree",
                f"a tree at {path} was killed and left its endpoints behind",
                "regrow up: it takes over and resumes its tasks",
            )
        return ok("tree", f"none runs at {path}")
    if not it.has_endpoints:
        return warning(
            "tree",
            f"process {it.holder} holds {path} and is not ready: it is starting, or stopping",
            "wait, or look into its log",
        )
    if it.problem:
        return problem(
            "tree",
            f"process {it.holder} runs at {path}, but {it.gateway} does not answer: {it.problem}",
            "look into its log: supervisor.report",
        )
    if it.shortcomings:
        return problem(
            "tree",
            f"{it.gateway} is not ready: {'; '.join(it.shortcomings)}",
            "regrow tree shows which part is missing",
        )
    return ok("tree", f"process {it.holder} runs at {path}, {it.gateway} is ready, {len(it.workers)} workers")


CHECKS: Final[tuple[Callable[[Facts], Finding | None], ...]] = (
    tree, store.store, store.durability, store.last_write, store.eviction, store.store_memory, store.tasks,
    store.data_dir, store.disk_space, machine.kernel, machine.open_files, machine.processes, machine.memory, machine.swap,
    machine.overcommit, machine.huge_pages, machine.clock, store.clocks, python, packages, alike,
)  # fmt: skip
