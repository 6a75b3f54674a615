"""Shell: tells a run on the terminal, a line for each phase and fault, and its verdict at the end."""

import time

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from regrow.chaos.evidence import Findings, Judgement, Sample, Strike, Verdict
from regrow.chaos.experiment import Experiment, Plan, Step
from regrow.chaos.progress import Count, Entered, Phase, Said, Sampled, Struck, Undone, Word
from regrow.chaos.trial import Trial

PHASES = {
    Phase.START: "a tree comes up",
    Phase.BASELINE: "the same workload without faults, for comparison",
    Phase.GATE: "is the steady state there?",
    Phase.METHOD: "workload and faults",
    Phase.SETTLE: "faults are undone; until every task has ended",
    Phase.READ: "every task is read once more",
    Phase.STOP: "the tree is stopped",
    Phase.CHECK: "client, tasks and record are compared",
}
COLOURS = {Verdict.VALID: "green", Verdict.INVALID: "red", Verdict.UNKNOWN: "yellow"}


class Narrator:
    """An observer that prints.  Probes are told of when they leave their tolerance and when they are back."""

    def __init__(self, console: Console, experiment: Experiment) -> None:
        self._console = console
        self._experiment = experiment
        self._began = time.monotonic()
        self._intolerable: set[str] = set()

    def __call__(self, word: Word) -> None:
        """Print what is worth a line."""
        match word:
            case Entered(phase=phase, within_s=within_s):
                self._line(f"[bold]{phase}[/]: {PHASES[phase]}{_length(phase, within_s)}")
            case Struck(strike=strike):
                self._line(f"  {struck(strike)}")
            case Undone(strike=strike):
                self._line(f"  {strike.fault} undone{who(strike)}")
            case Sampled(sample=sample):
                if sample.is_tolerable == (sample.probe in self._intolerable):
                    self._intolerable ^= {sample.probe}
                    state = "tolerable again" if sample.is_tolerable else "out of tolerance"
                    self._line(f"  {escape(sample.probe)} is {state}: {escape(shown(sample))}")
            case Said(text=text):
                self._line(f"  {escape(text)}")
            case Count():
                pass

    def _line(self, text: str) -> None:
        self._console.print(f"{time.monotonic() - self._began:6.1f} s  {text}")


def tell_plan(console: Console, experiment: Experiment, plan: Plan) -> None:
    """The plan as a table."""
    console.print(
        f"{escape(experiment.title)}, seed {plan.seed}: {len(plan.steps)} fault{'s' * (len(plan.steps) != 1)}"
    )
    table = Table(box=None, pad_edge=False)
    for column in ("at", "fault", "target", "for"):
        table.add_column(column)
    for step in plan.steps:
        length = "" if step.for_s is None else f"{step.for_s:g} s"
        table.add_row(f"{step.at_s:.3f} s", _named(step), escape(_target(step)), length)
    console.print(table)


def conclude(console: Console, trial: Trial) -> None:
    """The verdict, and where the rest is."""
    for line in verdict_lines(trial.findings, trial.evidence.stopped_because):
        console.print(line)
    page = escape(str(trial.dossier / "report.html"))
    console.print(f"report: {page}  (and report.md, report.json, the evidence beside it)")


def verdict_lines(findings: Findings, stopped_because: str) -> list[str]:
    """A person's summary."""
    accounting = findings.accounting
    colour = COLOURS[findings.verdict]
    lines = [
        f"\n[bold {colour}]{findings.verdict}[/]"
        + (f" (broken off: {escape(stopped_because)})" if stopped_because else "")
    ]
    lines += [f"  {escape(reason)}" for reason in findings.reasons]
    rejected = sum(accounting.rejected.values())
    failed = sum(accounting.failed.values())
    lines.append(
        f"{accounting.attempted} submits: {accounting.acknowledged} acknowledged, {rejected} rejected, {accounting.unknown} unknown"
    )
    rest = "not ended yet" if stopped_because else "lost"
    lines.append(f"of those acknowledged: {accounting.completed} completed, {failed} failed, {accounting.lost} {rest}")
    for judgement in findings.judgements:
        if judgement.verdict is not Verdict.VALID:
            lines.append(
                f"  [{COLOURS[judgement.verdict]}]{judgement.verdict}[/] {judgement.invariant}: {escape(_told(judgement))}"
            )
    return lines


def _told(judgement: Judgement) -> str:
    """Of what was broken, what had been promised."""
    promise = [judgement.promise] if judgement.verdict is Verdict.INVALID else []
    return " ".join(promise + ([judgement.detail] if judgement.detail else []))


def shown(sample: Sample) -> str:
    """What a probe saw."""
    value = f"{sample.value:.4g}" if isinstance(sample.value, float) else str(sample.value)
    return sample.problem or value


def _length(phase: Phase, within_s: float | None) -> str:
    """Of the twin only the load's is known; a start and an end come on top."""
    if not within_s:
        return ""
    return f" ({within_s:g} s of load)" if phase is Phase.BASELINE else f" (up to {within_s:g} s)"


def struck(strike: Strike) -> str:
    """What was done to whom, or why nothing was."""
    if strike.applied_at is None:
        return f"{strike.fault} [yellow]missed[/]: {escape(strike.detail)}"
    return f"[red]{strike.fault}[/]{who(strike)}: {escape(strike.detail)}"


def who(strike: Strike) -> str:
    """The victim, if it has one."""
    return f" {escape(strike.victim.path)} (pid {strike.victim.pid})" if strike.victim is not None else ""


def _named(step: Step) -> str:
    options = ", ".join(f"{name}={value}" for name, value in step.options.items())
    return escape(f"{step.fault} ({options})" if options else step.fault)


def _target(step: Step) -> str:
    if step.target is None:
        return ""
    doing = "" if step.target.doing == "anything" else f", {step.target.doing}"
    return f"{step.target.pick} {step.target.name or step.target.role}{doing}"
