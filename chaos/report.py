"""Core: a run as a report tells it: what was found, and the pictures' numbers.  ``report_page`` and ``report_text`` write it down.

Times ``at_s`` are seconds from the start of the method; negative before it.
"""

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from regrow.chaos.course import Bucket, Cost, bucket_s, buckets, cost, seen
from regrow.chaos.evidence import Census, Evidence, Findings, Sample, Strike, Verdict
from regrow.chaos.experiment import Experiment, Probe, Tolerance
from regrow.chaos.history import ChildMove
from regrow.runtime.tree import TreeNode


class Machine(msgspec.Struct, frozen=True):
    """Where it ran. ``versions``: of regrow and what its promises rest on."""

    host: str
    cores: int
    memory_bytes: int
    kernel: str
    python: str
    versions: dict[str, str]


class RunFacts(msgspec.Struct, frozen=True):
    """What is known of a run besides its evidence. ``command``: which runs it again; ``revision``: of the source, "" where unknown."""

    started_at: str  # wall time, ISO 8601
    command: str
    machine: Machine
    revision: str = ""
    store: str = ""  # what it is, and how durable


class FaultLine(msgspec.Struct, frozen=True):
    """One strike. ``hits``: running tasks that it hit; ``missed``: it was not done at all."""

    step: int
    fault: str
    planned_s: float
    applied_s: float | None
    undone_s: float | None
    who: str
    detail: str
    hits: int
    missed: bool


class Restart(msgspec.Struct, frozen=True):
    """One actor's starts after the first, and the reasons of its ends."""

    path: str
    restarts: int
    reasons: dict[str, int]


class ProbeLine(msgspec.Struct, frozen=True):
    """One probe's course; ``values`` are (at_s, value or None where it is no number, tolerable)."""

    name: str
    tolerance: str
    looks: int
    intolerable: int
    before: str
    after: str
    values: tuple[tuple[float, float | None, bool], ...]


class Report(msgspec.Struct, frozen=True):
    """All of it."""

    experiment: Experiment
    facts: RunFacts
    findings: Findings
    began: float  # monotonic seconds: what times in counter-examples are counted from
    took_s: float
    method_s: float
    settled_s: float | None
    stopped_because: str
    buckets: tuple[Bucket, ...]
    bucket_s: float
    faults: tuple[FaultLine, ...]
    restarts: tuple[Restart, ...]
    probes: tuple[ProbeLine, ...]
    cost: Cost | None
    weight: dict[str, tuple[float, float]]  # what the tree weighed: before, after
    orphans: tuple[str, ...]


def compose(evidence: Evidence, findings: Findings, facts: RunFacts, twin: Evidence | None = None) -> Report:
    """The report; ``twin``: the same run without faults."""
    width_s, course = bucket_s(evidence), seen(evidence.ops)
    return Report(
        experiment=evidence.experiment,
        facts=facts,
        findings=findings,
        began=evidence.began,
        took_s=evidence.finished - evidence.began,
        method_s=evidence.ended - evidence.began,
        settled_s=None if evidence.settled_at is None else evidence.settled_at - evidence.ended,
        stopped_because=evidence.stopped_because,
        buckets=buckets(evidence, width_s, course),
        bucket_s=width_s,
        faults=_fault_lines(evidence, findings),
        restarts=_restarts(evidence),
        probes=_probe_lines(evidence),
        cost=None if twin is None else cost(evidence.marks, course, seen(twin.ops)),
        weight=_weight(evidence),
        orphans=evidence.orphans,
    )


def headline(report: Report) -> str:
    """The verdict in a sentence."""
    it = report.findings
    tasks = f"{it.accounting.acknowledged:,} acknowledged tasks"
    faults = f"{sum(not line.missed for line in report.faults)} faults"
    match it.verdict:
        case Verdict.VALID:
            return f"Nothing was lost, doubled or overwritten: {tasks} under {faults}, {_hit(report)} of them while a task ran."
        case Verdict.INVALID:
            broken = [judged.invariant for judged in it.judgements if judged.verdict is Verdict.INVALID]
            return f"A promise was broken under {faults}: {', '.join(broken) or '; '.join(it.reasons)}."
        case Verdict.UNKNOWN:
            return f"This run proves nothing: {'; '.join(it.reasons) or 'too little was exercised'}."


def _hit(report: Report) -> int:
    return sum(line.hits > 0 for line in report.faults)


# Faults, restarts, probes, weight.


def _fault_lines(evidence: Evidence, findings: Findings) -> tuple[FaultLine, ...]:
    hits: dict[int, int] = defaultdict(int)
    for recovery in findings.recoveries:
        hits[recovery.step] += 1
    return tuple(
        FaultLine(
            strike.step,
            strike.fault,
            strike.planned_at - evidence.began,
            None if strike.applied_at is None else strike.applied_at - evidence.began,
            None if strike.undone_at is None else strike.undone_at - evidence.began,
            _who(strike),
            strike.detail,
            hits[strike.step],
            strike.applied_at is None,
        )
        for strike in evidence.strikes
    )


def _who(strike: Strike) -> str:
    if strike.victim is not None:
        return f"{strike.victim.path} (pid {strike.victim.pid})"
    return str(strike.options.get("link", ""))


def _restarts(evidence: Evidence) -> tuple[Restart, ...]:
    reasons: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for move in evidence.moves:
        if isinstance(move, ChildMove) and move.event in ("child.down", "slot.down"):
            reasons[move.path][move.reason] += 1
    counts = {node.path: node.restarts for node in _nodes(evidence.after)}
    for node in _nodes(evidence.before):
        if node.path in counts:
            counts[node.path] -= node.restarts
    paths = sorted({*reasons, *(path for path, count in counts.items() if count > 0)})
    return tuple(Restart(path, counts.get(path, sum(reasons[path].values())), dict(reasons[path])) for path in paths)


def _nodes(census: Census | None) -> list[TreeNode]:
    return [] if census is None else list(census.tree.walk())


def _probe_lines(evidence: Evidence) -> tuple[ProbeLine, ...]:
    probes = evidence.experiment.hypothesis.probes
    return tuple(
        _probe_line(probe, [sample for sample in evidence.samples if sample.probe == probe.name], evidence.began)
        for probe in probes
    )


def _probe_line(probe: Probe, looks: Sequence[Sample], began: float) -> ProbeLine:
    last = {look.phase: look for look in looks}
    course = tuple(
        (look.at - began, look.value if isinstance(look.value, int | float) else None, look.is_tolerable)
        for look in looks
    )
    return ProbeLine(
        probe.name,
        _words(probe.tolerance),
        len(looks),
        sum(not look.is_tolerable for look in looks),
        _shown(last.get("before")),
        _shown(last.get("after")),
        course,
    )


def _words(tolerance: Tolerance) -> str:
    """What is tolerable, in words."""
    value = tolerance.value
    match tolerance.kind:
        case "range":
            return f"{tolerance.target} from {value[0]:g} to {value[1]:g}"
        case "any_of":
            return f"{tolerance.target} one of {', '.join(map(str, value))}"
        case "min" | "max":
            return f"{tolerance.target} at {'least' if tolerance.kind == 'min' else 'most'} {value:g}"
        case _:
            return f"{tolerance.target} {'like ' if tolerance.kind == 'regex' else ''}{value}"


def _shown(look: Sample | None) -> str:
    if look is None:
        return ""
    value = f"{look.value:,.0f}" if isinstance(look.value, float) else str(look.value)
    text = look.problem or "no answer" if look.value is None else value
    return text if look.is_tolerable else f"{text} (not tolerable)"


def _weight(evidence: Evidence) -> dict[str, tuple[float, float]]:
    before, after = evidence.before, evidence.after
    if before is None or after is None:
        return {}
    found = {
        "processes": (float(before.processes), float(after.processes)),
        "resident MiB": (before.rss_bytes / 2**20, after.rss_bytes / 2**20),
    }
    for name, one, other in (
        ("keys in the store", before.store_keys, after.store_keys),
        ("open files", before.open_files, after.open_files),
    ):
        if one is not None and other is not None:
            found[name] = float(one), float(other)
    return found
