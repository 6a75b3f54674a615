"""Shell: the directory of a run: everything that is known of it, as files, and the evidence read back from them.

::

    experiment.json plan.json      as read and planned
    journal.jsonl                  the nemesis's own
    history.jsonl witness/*.jsonl events.jsonl samples.jsonl      the sources, written while things happen
    census.json evidence.json      what else is known, when all is over
    facts.json                     where, when and by which command it was made
    findings.json                  what the checker says
    report.html report.md report.json
    baseline/                      the same of its fault-free twin
    tree.log                       of an own tree
"""

from pathlib import Path
from typing import TypeVar

import msgspec

from regrow.chaos.evidence import Evidence, Findings, Sample
from regrow.chaos.experiment import Experiment, Plan
from regrow.chaos.history import Mark, Move, Op
from regrow.chaos.lines import Damaged, read_lines
from regrow.chaos.report import Report, RunFacts
from regrow.chaos.report_page import page
from regrow.chaos.report_text import text
from regrow.runtime.errors import ConfigError

T = TypeVar("T")


class Dossier:
    """One directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path / "journal.jsonl"
        self.history = path / "history.jsonl"
        self.witness = path / "witness"
        self.events = path / "events.jsonl"
        self.samples = path / "samples.jsonl"
        self.log = path / "tree.log"

    @classmethod
    def new(cls, path: Path, experiment: Experiment, plan: Plan) -> "Dossier":
        """An empty one, made for a run.  Raises ConfigError when it cannot be made, or there is a run in it."""
        found = cls(path.absolute())
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise ConfigError(f"{path} is not empty: name another directory with --out")
            found.witness.mkdir()
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; name another directory with --out") from None
        found._write("experiment.json", experiment)
        found._write("plan.json", plan)
        return found

    def begun(self) -> tuple[Experiment, Plan]:
        """What was to be done.  Raises ConfigError, Damaged."""
        return self._read("experiment.json", Experiment), self._read("plan.json", Plan)

    def keep(self, evidence: Evidence) -> None:
        """All of it that is in no other file."""
        self._write("census.json", {"before": evidence.before, "after": evidence.after})
        self._write("evidence.json", msgspec.structs.replace(evidence, ops=(), marks=(), moves=()))

    def keep_facts(self, facts: RunFacts) -> None:
        """Where and when it is made."""
        self._write("facts.json", facts)

    def facts(self) -> RunFacts:
        """Where and when it was made.  Raises ConfigError, Damaged."""
        return self._read("facts.json", RunFacts)

    def keep_report(self, report: Report) -> None:
        """In all its forms."""
        (self.path / "report.html").write_text(page(report))
        (self.path / "report.md").write_text(text(report))
        self._write("report.json", report)

    def keep_findings(self, findings: Findings) -> None:
        """What was found."""
        self._write("findings.json", findings)

    def baseline(self) -> "Dossier":
        """Of the twin, if there is one."""
        return Dossier(self.path / "baseline")

    def marks(self) -> tuple[Mark, ...]:
        """What the tasks wrote, in order of time."""
        files = sorted(self.witness.glob("*.jsonl"))
        found = [mark for file in files for mark in read_lines(file, Mark)]
        return tuple(sorted(found, key=lambda mark: mark.at))

    def evidence(self) -> Evidence:
        """All of it.  Raises ConfigError where no run has ended, and Damaged."""
        small = self._read("evidence.json", Evidence)
        return msgspec.structs.replace(
            small,
            ops=tuple(read_lines(self.history, Op)),
            marks=self.marks(),
            moves=tuple(read_lines(self.events, Move)),  # type: ignore[arg-type]  # a union of structs is a type to msgspec
            samples=small.samples or tuple(read_lines(self.samples, Sample)),
        )

    def findings(self) -> Findings:
        """What was found.  Raises ConfigError, Damaged."""
        return self._read("findings.json", Findings)

    def _write(self, name: str, value: object) -> None:
        (self.path / name).write_bytes(msgspec.json.format(msgspec.json.encode(value)) + b"\n")

    def _read(self, name: str, kind: type[T]) -> T:
        try:
            return msgspec.json.decode((self.path / name).read_bytes(), type=kind)
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(f"{self.path} has no {name}: it is not the directory of a run that has ended") from None
        except msgspec.DecodeError as error:
            raise Damaged(f"{self.path / name}: {error}") from None
