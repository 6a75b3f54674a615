"""Core: the judge of a run: from evidence to findings, a pure function.

::

    evidence ──▶ docket (by task) ──▶ impact (faults against tasks) ──▶ each invariant ──▶ judgements ┐
                                              └──▶ recoveries ──▶ distributions ──▶ expected bounds    ├──▶ verdict, reasons
                                                                └──▶ coverage ──▶ what had to be hit  ┘

The verdict is three-valued. *Invalid*: something contradicts what was asked.  *Unknown*: nothing contradicts it, but the run has
not put it to the test, or a source is missing.  Only what is neither is *valid*.
"""

from collections import Counter
from typing import Final, NamedTuple

from regrow.chaos import timeline
from regrow.chaos.accounting import accounting
from regrow.chaos.docket import Docket
from regrow.chaos.evidence import CounterExample, Distribution, Evidence, Findings, Judgement, Strike, Verdict
from regrow.chaos.experiment import Step, Strategy
from regrow.chaos.impact import AFTER_S, UNSYNCED_S, Impact, label, label_of
from regrow.chaos.invariants import cancels, executions, liveness, moves, outcomes, tree
from regrow.chaos.invariants.ruling import Facts, Judge, Ruling, Violation
from regrow.chaos.recovery import distributions, measured, recoveries

KEPT: Final = 10  # counter-examples of one invariant
DOINGS: Final = ("running_task", "idle")
AFTERWARDS: Final = frozenset({Strategy.AFTER, Strategy.DEFAULT, Strategy.CONTINUOUS})


class Invariant(NamedTuple):
    """``bound`` is its ordinary one, where one number says it; what it is a bound of is in the promise."""

    judge: Judge
    promise: str
    bound: float | None = None


INVARIANTS: Final[dict[str, Invariant]] = {
    "no_lost": Invariant(outcomes.no_lost, "Every acknowledged task has ended when the run is over.", UNSYNCED_S),
    "no_phantom": Invariant(
        outcomes.no_phantom, "Every task that ran or ended was submitted, and each submit is one task."
    ),
    "one_terminal": Invariant(outcomes.one_terminal, "A task ends once: in the record, and before every reader."),
    "no_overwrite": Invariant(outcomes.no_overwrite, "The outcome that was read first is the outcome at the end."),
    "value_correct": Invariant(
        outcomes.value_correct, "The stored value is the one that the function returns for these parameters."
    ),
    "terminal_is_true": Invariant(
        outcomes.terminal_is_true, "COMPLETED was made by a run that came to its end, and a failure did happen."
    ),
    "bounded_reexec": Invariant(
        executions.bounded_reexec,
        "A task starts once, and again only for a fault that hit it or a retry that was asked for; an attempt never starts twice.",
        0,
    ),
    "no_overlap": Invariant(
        executions.no_overlap,
        "Two runs of one task are never under way at once: not at all where a process died, for "
        f"{AFTER_S:g} s where somebody was cut off.",
    ),
    "at_most_once": Invariant(executions.at_most_once, "A task with max_attempts=1 is never started twice."),
    "legal_transitions": Invariant(
        moves.legal_transitions,
        "Tasks move only as the table of moves has it, nobody sees one go back, what is given back had not started, "
        "none goes astray, and no id is given before the store has the task.",
    ),
    "bounded_detection": Invariant(
        liveness.bounded_detection,
        "Who falls silent is noticed, and what it had in hand is taken from it in time, counted from its last word.",
        AFTER_S,
    ),
    "liveness": Invariant(
        liveness.liveness, "When faults are over, all that was acknowledged ends in the time for settling."
    ),
    "fairness": Invariant(
        liveness.fairness, "No task waits for its first start while later ones end.", liveness.STARVES_S
    ),
    "poison_contained": Invariant(
        executions.poison_contained, "A task that kills its process ends quarantined, and takes no other task with it."
    ),
    "cancel_holds": Invariant(
        cancels.cancel_holds,
        "A task whose cancel was confirmed ends cancelled, and its function stops soon; nothing else ends so.",
        cancels.WORKS_ON_S,
    ),
    "tree_healthy": Invariant(
        tree.tree_healthy, "The tree has the shape that it had before, and no supervisor gave up."
    ),
    "memory": Invariant(
        tree.memory,
        "Keys of the store, memory and descriptors are back where they were, but for what is kept on purpose.",
        tree.GROWTH,
    ),
    "no_orphans": Invariant(tree.no_orphans, "No process of the tree outlives its place in it."),
}
ALIASES: Final = {"no_overlap_beyond": "no_overlap"}  # names of bounds
NAMES: Final = (*INVARIANTS, *ALIASES)  # that an experiment may ask for


def check(evidence: Evidence) -> Findings:
    """Judge a run."""
    docket = Docket.of(evidence)
    impact = Impact.of(docket)
    facts = Facts(docket, impact, recoveries(impact))
    found = distributions(impact, facts.recoveries)
    covered = coverage(impact)
    missed = missing(evidence, covered)
    asked = asked_of(evidence)
    rulings = {name: INVARIANTS[name].judge(facts, bound) for name, bound in asked.items() if name in INVARIANTS}
    judgements = tuple(judgement(name, rulings.get(name), impact) for name in asked)
    against = [*_contradicted(judgements), *_exceeded(evidence, found), *_unsteady(evidence)]
    open_questions = [*_untested(facts, covered), *missed, *_unanswered(evidence, judgements, rulings, found)]
    verdict = Verdict.INVALID if against else Verdict.UNKNOWN if open_questions else Verdict.VALID
    return Findings(
        verdict,
        (*against, *open_questions) or (_praise(facts, judgements),),
        judgements,
        accounting(docket),
        facts.recoveries,
        found,
        tuple(missed),
        covered,
    )


def asked_of(evidence: Evidence) -> dict[str, float | None]:
    """Which invariants, each with its bound: the experiment's own, or the ordinary one.  None named: all."""
    named = evidence.experiment.expect.invariants or dict.fromkeys(INVARIANTS)
    asked: dict[str, float | None] = {}
    for key, bound in named.items():
        name = ALIASES.get(key, key)
        ordinary = INVARIANTS[name].bound if name in INVARIANTS else None
        asked[name] = ordinary if bound is None else bound
    return asked


def judgement(name: str, ruling: Ruling | None, impact: Impact) -> Judgement:
    """What a ruling comes to, with the stories of the first violations."""
    if ruling is None:
        return Judgement(
            name, Verdict.UNKNOWN, "", f"there is no invariant of that name; there are {', '.join(INVARIANTS)}"
        )
    checked = max(ruling.checked, len(ruling.violations))  # what contradicts was looked at
    is_open = bool(ruling.lacks) or not checked
    verdict = Verdict.INVALID if ruling.violations else Verdict.UNKNOWN if is_open else Verdict.VALID
    why_open = (
        f"missing: {ruling.lacks}" if ruling.lacks else "" if checked else "nothing of this run puts it to the test"
    )
    return Judgement(
        name,
        verdict,
        INVARIANTS[name].promise,
        "; ".join(part for part in (why_open, ruling.detail) if part),
        checked,
        len(ruling.violations),
        tuple(_example(violation, impact) for violation in ruling.violations[:KEPT]),
    )


def _example(violation: Violation, impact: Impact) -> CounterExample:
    why, case, stranger, path = violation
    if case is not None:
        return CounterExample(case.subject, why, timeline.of_task(case, impact))
    if stranger:
        return CounterExample(f"task {stranger}", why, timeline.of_stranger(impact.docket.strangers[stranger]))
    return CounterExample(path or "the run", why, timeline.of_actor(path, impact.docket))


def coverage(impact: Impact) -> dict[str, int]:
    """How often each kind of fault met a victim that had a task in hand, and one that had none; never: 0."""
    met = {strike.step: label_of(strike) for strike, _ in impact.struck}
    planned = [met.get(step.number) or _label(step) for step in impact.docket.evidence.plan.steps]
    labels = dict.fromkeys([*planned, *(label_of(strike) for strike, _ in impact.struck)])
    counts = Counter(f"{label_of(strike)} x {DOINGS[not holds]}" for strike, holds in impact.struck)
    return {key: counts[key] for name in labels for key in (f"{name} x {doing}" for doing in DOINGS)}


def _label(step: Step) -> str:
    """Of one that was planned only: whom it would have met."""
    return label(step.fault, step.target.role if step.target else "", str(step.options.get("link", "")))


def missing(evidence: Evidence, covered: dict[str, int]) -> list[str]:
    """What had to be hit and was not.

    ``kill``, ``kill_worker`` or ``net_delay``: applied so often; with ``_while_running`` or ``_while_idle`` behind it: to such a victim.
    """
    applied: Counter[str] = Counter()
    for key, n in covered.items():
        name, _, doing = key.partition(" x ")
        words = name.split(" ")
        for whom in {_key(words[0]), _key("_".join(words))}:
            applied[whom] += n
            applied[f"{whom}_while_anything"] += n
            applied[f"{whom}_while_{'running' if doing == DOINGS[0] else 'idle'}"] += n
    wanted = {_key(name): n for name, n in evidence.experiment.expect.must_hit.items()}
    return [
        f"{name} was to be hit {n} times, and was hit {applied[name]} times"
        for name, n in wanted.items()
        if applied[name] < n
    ]


def _key(name: str) -> str:
    return name.replace(".", "_").replace("-", "_")


def _contradicted(judgements: tuple[Judgement, ...]) -> list[str]:
    return [
        f"{it.invariant}: {it.violations} of {it.checked} contradict it, the first: {_first(it)}"
        for it in judgements
        if it.verdict is Verdict.INVALID
    ]


def _first(judged: Judgement) -> str:
    example = judged.counter_examples[0]
    return f"{example.subject}: {example.why}"


def _exceeded(evidence: Evidence, found: dict[str, Distribution]) -> list[str]:
    bounds = evidence.experiment.expect.recovery
    took = {name: _measured(name, found) for name in bounds}
    return [
        f"recovery: {name} is {took_s:.3f} s, and at most {bounds[name]:g} s were expected"
        for name, took_s in took.items()
        if took_s is not None and took_s > bounds[name]
    ]


def _measured(name: str, found: dict[str, Distribution]) -> float | None:
    try:
        return measured(name, found)
    except KeyError:
        return None


def _unsteady(evidence: Evidence) -> list[str]:
    """Probes whose last word after the run is out of tolerance, where the steady state was to be back."""
    if evidence.experiment.hypothesis.strategy not in AFTERWARDS:
        return []
    last = {
        sample.probe: sample for sample in sorted(evidence.samples, key=lambda it: it.at) if sample.phase == "after"
    }
    return [
        f"steady state: {it.probe} is not back in its tolerance ({it.problem or it.value})"
        for it in last.values()
        if not it.is_tolerable
    ]


def _untested(facts: Facts, covered: dict[str, int]) -> list[str]:
    """Why the run as a whole proves nothing."""
    evidence = facts.evidence
    reasons = [f"the run was stopped: {evidence.stopped_because}"] if evidence.stopped_because else []
    if not any(True for _ in facts.docket.acknowledged):
        reasons.append("no task was acknowledged")
    if evidence.plan.steps and not any(n for key, n in covered.items() if key.endswith(DOINGS[0])):
        reasons.append("no fault hit a running task" if facts.docket.strikes else "no fault was applied")
    return reasons


def _unanswered(
    evidence: Evidence, judgements: tuple[Judgement, ...], rulings: dict[str, Ruling], found: dict[str, Distribution]
) -> list[str]:
    """What was asked and has no answer.  Of invariants that nobody named, only those for which a source is missing."""
    named = {ALIASES.get(key, key) for key in evidence.experiment.expect.invariants}
    reasons = [
        f"{it.invariant}: {it.detail}"
        for it in judgements
        if it.verdict is Verdict.UNKNOWN and (it.invariant in named or rulings[it.invariant].lacks)
    ]
    unmeasured = [name for name in evidence.experiment.expect.recovery if _measured(name, found) is None]
    return reasons + [f"recovery: nothing was measured that {name} could be compared with" for name in unmeasured]


def _praise(facts: Facts, judgements: tuple[Judgement, ...]) -> str:
    hits = len({recovery.step for recovery in facts.recoveries})
    held = sum(it.verdict is Verdict.VALID for it in judgements)
    strikes: list[Strike] = facts.docket.strikes
    return f"{held} invariants hold; {hits} of {len(strikes)} faults hit running tasks"
