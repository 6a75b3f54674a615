"""Core: a report as one HTML page that needs no network: styles and pictures are in it, and it follows the reader's light or dark."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from regrow.chaos.course import Cost
from regrow.chaos.drawing import histogram, seconds, timeline
from regrow.chaos.evidence import Accounting, Distribution
from regrow.chaos.report import Report, headline

MOST_PICTURES: Final = 8
STAGES: Final = {
    "detected": "until it was noticed",
    "queued": "until its task was QUEUED",
    "since-beat-detected": "from its last beat until it was noticed",
    "since-beat-queued": "from its last beat until its task was QUEUED",
    "queued-running": "from QUEUED until RUNNING",
    "running": "until its task ran again",
    "finished": "until its task had ended",
    "capacity": "until every worker was back",
    "service": "until the canary was tolerable",
}  # as they follow each other


def page(report: Report) -> str:
    """The whole page."""
    environment = Environment(
        loader=PackageLoader("regrow.chaos"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    findings = report.findings
    distributions = ordered(findings.distributions)
    return environment.get_template("report.html.j2").render(
        report=report,
        verdict=findings.verdict.value,
        headline=headline(report),
        facts=list(_facts(report)),
        timeline=Markup(timeline(report)),  # noqa: S704 (its texts are escaped where it is drawn)
        histogram=lambda it: Markup(histogram(it)),  # noqa: S704 (numbers only)
        distributions=distributions,
        pictures=_worth_drawing(distributions),
        accounting=list(rows(findings.accounting)),
        coverage=", ".join(f"{name}: {count}" for name, count in findings.coverage.items() if count),
        costs=[] if report.cost is None else costs(report.cost),
        identity=identity(report),
        experiment=msgspec.json.format(msgspec.json.encode(report.experiment), indent=2).decode(),
        seconds=seconds,
        moment=moment,
        at=lambda at: f"{at - report.began:,.3f} s",
    )


def moment(at_s: float | None) -> str:
    """A time since the start of the method."""
    return "" if at_s is None else f"{at_s:.1f} s"


def told(name: str) -> str:
    """A distribution's name in words: ``kill/sentinel/queued``."""
    fault, path, stage = name.split("/", 2)
    by = "" if path in ("all", "other") else f", noticed by {path}"
    return f"{'all faults' if fault == 'all' else fault}{by}: {STAGES.get(stage, stage)}"


def ordered(distributions: Mapping[str, Distribution]) -> list[tuple[str, Distribution]]:
    """By fault and path, and in the order in which things happen; what all faults have together comes first."""
    places = {stage: place for place, stage in enumerate(STAGES)}

    def place(name: str) -> tuple[bool, str, str, int]:
        fault, path, stage = name.split("/", 2)
        return fault != "all", fault, path, places.get(stage, len(places))

    return [(told(name), distributions[name]) for name in sorted(distributions, key=place)]


def rows(it: Accounting) -> Iterator[tuple[str, int, str]]:
    """Lines that add up."""
    yield "attempted", it.attempted, "= acknowledged + rejected + unknown"
    yield "acknowledged", it.acknowledged, "= completed + failed + lost"
    yield "rejected", sum(it.rejected.values()), _listed(it.rejected)
    yield "unknown", it.unknown, f"no answer came; {it.recovered} of them ran all the same"
    yield "completed", it.completed, ""
    yield "failed", sum(it.failed.values()), _listed(it.failed)
    yield "lost", it.lost, ""
    again = {f"{times} times": tasks for times, tasks in sorted(it.executions.items()) if times > 1}
    yield "started more than once", sum(again.values()), _listed(again)


def costs(it: Cost) -> list[tuple[str, str, str]]:
    """What faults cost: without them, with them."""
    (p50, p50_hit), (p99, p99_hit) = it.p50_ms, it.p99_ms
    return [
        ("completed", "100 %", f"{it.completed_ratio:.1%}"),
        ("median latency", seconds(p50 / 1000), seconds(p50_hit / 1000)),
        ("99th percentile", seconds(p99 / 1000), seconds(p99_hit / 1000)),
        ("runs beyond a task's first", "", str(it.wasted_runs)),
    ]


def identity(report: Report) -> list[tuple[str, str]]:
    """What was run, where and when."""
    machine = report.facts.machine
    return [
        ("seed", str(report.experiment.seed)),
        ("started", report.facts.started_at),
        ("took", f"{report.took_s:,.1f} s, of which the method {report.method_s:,.1f} s"),
        ("store", report.facts.store),
        (
            "machine",
            f"{machine.host}, {machine.cores} cores, {machine.memory_bytes / 2**30:,.1f} GiB, {machine.kernel}",
        ),
        ("Python", machine.python),
        ("versions", ", ".join(f"{name} {version}" for name, version in machine.versions.items())),
        ("source", report.facts.revision or "not a checkout"),
        ("clock", "monotonic, of this machine; the store's wall time is mapped to it"),
    ]


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    it = report.findings.accounting
    yield f"{it.acknowledged:,}", "tasks acknowledged"
    yield f"{it.lost:,}", "lost"
    yield f"{sum(not line.missed for line in report.faults)}", "faults done"
    yield f"{sum(line.hits for line in report.faults)}", "running tasks hit"
    waits = [
        wait
        for recovery in report.findings.recoveries
        if (wait := _wait_s(recovery.injected, recovery.running)) is not None
    ]
    if waits:
        yield seconds(max(waits)), "the longest wait until a hit task ran again"
    yield (
        ("in time" if report.settled_s is not None else "never"),
        "settled"
        if report.settled_s is None
        else (f"all tasks had ended {report.settled_s:.1f} s after the last fault"),
    )


def _wait_s(since: float, until: float | None) -> float | None:
    return None if until is None else until - since


def _worth_drawing(distributions: list[tuple[str, Distribution]]) -> list[tuple[str, Distribution]]:
    """The ones that say most: those with several values, the largest first."""
    several = [it for it in distributions if it[1].n >= 3 and it[1].most > it[1].least and not it[0].startswith("all")]
    return sorted(several, key=lambda it: -it[1].n)[:MOST_PICTURES]


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items())
