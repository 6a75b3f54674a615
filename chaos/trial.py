"""Shell: an experiment from its plan to its verdict: the twin without faults, the run, the check.

Whatever happens in between, nothing is left stopped, cut or filled, and no process of an own tree is left alive.
"""

import asyncio
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Final

import msgspec

from regrow.chaos.checker import check
from regrow.chaos.dossier import Dossier
from regrow.chaos.evidence import Evidence, Findings, Verdict
from regrow.chaos.experiment import Experiment, Hypothesis, Plan, StopWhen
from regrow.chaos.herald import Herald
from regrow.chaos.interruptions import Interruptions
from regrow.chaos.nemesis import Nemesis
from regrow.chaos.progress import Entered, Observer, Phase, Undone, Word
from regrow.chaos.report import compose
from regrow.chaos.runner import Run, Unfit
from regrow.chaos.schedule import plan
from regrow.chaos.stage import Stage, attached, own
from regrow.chaos.surroundings import facts


class Code(IntEnum):
    """Exit codes of ``regrow chaos run``."""

    VALID = 0
    INVALID = 1
    UNKNOWN = 2
    ABORTED = 3  # or never begun


class Trial(msgspec.Struct, frozen=True):
    """What has come of it. ``twin``: the evidence of the run without faults."""

    evidence: Evidence
    findings: Findings
    dossier: Path
    twin: Evidence | None = None

    @property
    def is_interrupted(self) -> bool:
        """By a signal, rather than by a stop condition."""
        return self.evidence.stopped_because.startswith(INTERRUPTED)

    @property
    def code(self) -> Code:
        """An early end is none of the three verdicts."""
        return Code.ABORTED if self.evidence.stopped_because else CODES[self.findings.verdict]


INTERRUPTED: Final = "interrupted"
CODES: Final = {Verdict.VALID: Code.VALID, Verdict.INVALID: Code.INVALID, Verdict.UNKNOWN: Code.UNKNOWN}


def perform(
    experiment: Experiment, out: Path, observer: Observer, *, command: str = "", url: str = "", has_twin: bool = True
) -> Trial:
    """All of it.  ``command``: which does it again.

    Raises what keeps it from being done: ConfigError, Unfit, TreeUnreadable, ProgramFailed, KeyboardInterrupt.
    """
    planned = plan(experiment)
    if url:
        check_attached(url, planned)
    observer = _one_at_a_time(observer)
    twin = None
    with Interruptions() as interruptions:
        dossier = Dossier.new(out, experiment, planned)
        dossier.keep_facts(facts(command, experiment.configuration, url))
        if has_twin:
            observer(Entered(Phase.BASELINE, time.monotonic(), experiment.workload.duration_s))
            calm = without_faults(experiment)
            beside = Dossier.new(dossier.baseline().path, calm, plan(calm))
            twin = _run(_Act(calm, plan(calm), beside, _quiet), url, planned, interruptions)
            if twin.stopped_because:
                raise Unfit(f"{twin.stopped_because}, in the run without faults: none was made")
        evidence = _run(_Act(experiment, planned, dossier, observer), url, planned, interruptions)
    observer(Entered(Phase.CHECK, time.monotonic()))
    return _judged(dossier, evidence, twin)


def check_attached(url: str, planned: Plan) -> None:
    """Can all of it be done to the tree at ``url``?  Before anything of it is written.  Raises ConfigError, TreeUnreadable."""
    with attached(url) as stage, Nemesis(stage.scene) as nemesis:
        for step in planned.steps:
            nemesis.check(step)


def judge(path: Path) -> Trial:
    """A run that was made before, judged again from its files.  Raises ConfigError, Damaged."""
    dossier = Dossier(path.absolute())
    has_twin = (dossier.baseline().path / "evidence.json").exists()
    return _judged(dossier, dossier.evidence(), dossier.baseline().evidence() if has_twin else None)


def _judged(dossier: Dossier, evidence: Evidence, twin: Evidence | None) -> Trial:
    findings = check(evidence)
    dossier.keep_findings(findings)
    dossier.keep_report(compose(evidence, findings, dossier.facts(), twin))
    return Trial(evidence, findings, dossier.path, twin)


def without_faults(experiment: Experiment) -> Experiment:
    """Its twin: the same submits, and nothing else."""
    return msgspec.structs.replace(experiment, method=(), hypothesis=Hypothesis(), stop_when=StopWhen())


@dataclass(frozen=True, slots=True)
class _Act:
    """One run of a trial: the twin, or the one with faults."""

    experiment: Experiment
    planned: Plan
    dossier: Dossier
    observer: Observer


def _run(act: _Act, url: str, meant: Plan, interruptions: Interruptions) -> Evidence:
    """On a stage of its own. ``meant``: faults that this stage must be able to have, even if they are not done yet."""
    if not url:
        act.observer(Entered(Phase.START, time.monotonic()))
    with interruptions.tidied(_stage(act, url)) as stage:
        with Herald(stage.scene.gateway) as herald, _nemesis(act := _told(act, herald), stage) as nemesis:
            for step in meant.steps:
                nemesis.check(step)
            interruptions.check()
            evidence = asyncio.run(_play(act, stage, nemesis, interruptions))
        act.dossier.keep(evidence)
        if not url:
            act.observer(Entered(Phase.STOP, time.monotonic()))
        evidence = _stopped(evidence, stage)
    act.dossier.keep(evidence)
    return evidence


def _told(act: _Act, herald: Herald) -> _Act:
    return replace(act, observer=herald.also(act.observer))


def _stage(act: _Act, url: str) -> AbstractContextManager[Stage]:
    return attached(url) if url else own(act.experiment.configuration, act.dossier.log)


def _nemesis(act: _Act, stage: Stage) -> Nemesis:
    return Nemesis(
        stage.scene,
        act.dossier.journal,
        title=act.experiment.title,
        seed=act.experiment.seed,
        on_undone=lambda strike: act.observer(Undone(strike)),
    )


async def _play(act: _Act, stage: Stage, nemesis: Nemesis, interruptions: Interruptions) -> Evidence:
    """A signal ends the run early, and in order."""
    run = Run(act.experiment, act.planned, stage, nemesis, act.dossier, act.observer)
    loop = asyncio.get_running_loop()
    with interruptions.told(lambda name: loop.call_soon_threadsafe(run.stop, f"{INTERRUPTED} by {name}")):
        return await run.play()


def _stopped(evidence: Evidence, stage: Stage) -> Evidence:
    """With what the end of the tree adds to it.  Who does not wait for that has it killed."""
    try:
        return msgspec.structs.replace(evidence, orphans=stage.end())
    except KeyboardInterrupt:
        why = evidence.stopped_because or f"{INTERRUPTED} while the tree was stopped"
        return msgspec.structs.replace(evidence, stopped_because=why)


def _one_at_a_time(observer: Observer) -> Observer:
    """Undoing is told on the thread that did it."""
    lock = threading.Lock()

    def tell(word: Word) -> None:
        with lock:
            observer(word)

    return tell


def _quiet(word: Word) -> None:
    """The twin's progress: nobody needs it."""
