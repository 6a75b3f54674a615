"""Core: a report as Markdown, for a pull request or a terminal without a browser."""

from collections.abc import Iterator, Sequence

from regrow.chaos.drawing import seconds
from regrow.chaos.evidence import Judgement, Verdict
from regrow.chaos.report import Report, headline
from regrow.chaos.report_page import costs, identity, moment, ordered, rows

MARKS = {Verdict.VALID: "✓", Verdict.INVALID: "✗", Verdict.UNKNOWN: "?"}


def text(report: Report) -> str:
    """The whole of it."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    findings = report.findings
    yield f"# {report.experiment.title}: {findings.verdict.value}"
    yield f"\n{headline(report)}\n"
    yield from (f"- {reason}" for reason in findings.reasons)
    yield "\n## Invariants\n"
    yield from _table(
        ("", "invariant", "what it says", "looked at"),
        [
            (MARKS[it.verdict], it.invariant, f"{it.promise} {it.detail}".rstrip(), f"{it.checked:,}")
            for it in findings.judgements
        ],
    )
    for judged in findings.judgements:
        yield from _counter_examples(judged, report.began)
    yield "\n## Recoveries\n"
    yield from _table(
        ("fault", "n", "least", "p50", "p90", "p99", "most"),
        [
            (name, str(it.n), *(seconds(value) for value in (it.least, it.p50, it.p90, it.p99, it.most)))
            for name, it in ordered(findings.distributions)
        ],
    )
    yield "\n## Tasks\n"
    yield from _table(
        ("what", "tasks", ""), [(name, f"{count:,}", note) for name, count, note in rows(findings.accounting)]
    )
    yield "\n## Faults\n"
    yield from _table(
        ("#", "fault", "planned", "done", "undone", "to", "tasks hit", "what was done"),
        [
            (
                str(it.step),
                it.fault,
                moment(it.planned_s),
                "missed" if it.missed else moment(it.applied_s),
                moment(it.undone_s),
                it.who,
                str(it.hits),
                it.detail,
            )
            for it in report.faults
        ],
    )
    yield from _state(report)
    yield f"\n## Run it again\n\n    {report.facts.command}\n"
    yield from (f"- {name}: {value}" for name, value in identity(report))


def _state(report: Report) -> Iterator[str]:
    """Of the tree, of what was probed, and what it all cost."""
    yield "\n## The tree\n"
    yield from _table(
        ("actor", "restarts", "ended as"),
        [
            (it.path, str(it.restarts), ", ".join(f"{reason}: {count}" for reason, count in it.reasons.items()))
            for it in report.restarts
        ],
    )
    if report.weight:
        yield ""
        yield from _table(
            ("", "before", "after"),
            [(name, f"{before:,.0f}", f"{after:,.0f}") for name, (before, after) in report.weight.items()],
        )
    yield from (f"\nLeft behind: {orphan}" for orphan in report.orphans)
    yield "\n## Steady state\n"
    yield from _table(
        ("probe", "tolerance", "before", "after", "looks", "not tolerable"),
        [(it.name, it.tolerance, it.before, it.after, str(it.looks), str(it.intolerable)) for it in report.probes],
    )
    if report.cost is not None:
        yield "\n## What the faults cost\n"
        yield from _table(("", "without", "with faults"), costs(report.cost))


def _counter_examples(judged: Judgement, began: float) -> Iterator[str]:
    for example in judged.counter_examples:
        yield f"\n**{judged.invariant}**: {example.subject}: {example.why}\n"
        yield from (f"    {it.at - began:10.3f} s  {it.source:8} {it.text}" for it in example.timeline)


def _table(heads: Sequence[str], rows_: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows_:
        yield "none"
        return
    for row in (heads, ["---"] * len(heads), *rows_):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
