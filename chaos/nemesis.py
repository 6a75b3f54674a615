"""Shell: does the steps of a plan to a live tree, and undoes what it did, whatever happens.

The order of things, for each victim::

    prepare ──▶ journal: Intent with its undos, flushed ──▶ guardian holds them ──▶ strike ──▶ journal: Applied
                                                           undone after its time, by ``heal``, or by the guardian when this process ends

Only processes of the scene's tree are ever touched.  A victim is resolved to (pid, start time); a signal goes through a pidfd
that was opened before the start time was checked again, so it cannot hit a later process with the same number.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, Self

import msgspec

from regrow.chaos import undo
from regrow.chaos.evidence import Strike
from regrow.chaos.experiment import Step, Target
from regrow.chaos.fault import Victim
from regrow.chaos.faults import parse
from regrow.chaos.faults.base import Blow, Fault
from regrow.chaos.guardian import Guardian, GuardianLost
from regrow.chaos.journal import Applied, Header, Intent, Journal, Note, Undone
from regrow.chaos.lineage import NoVictim, start_time
from regrow.chaos.scene import Need, Scene
from regrow.chaos.targets import PATIENCE_S, wait_for_victims
from regrow.chaos.tree import TreeUnreadable
from regrow.chaos.undo import UndoFailed
from regrow.runtime.errors import ConfigError, RegrowError
from regrow.runtime.spec import ChildState

LOOK_AGAIN_S: Final = 0.005  # between two looks at the tree while a recovery is timed
LATE_S: Final = 1.0  # after its time a fault is undone by the guardian, if not by us


class NotRecovered(RegrowError):
    """The tree was not whole again in time."""

    code = "not_recovered"


@dataclass(slots=True)
class Deed:
    """A fault to one victim, as it stands."""

    number: int  # of its intent
    strike: Strike
    blow: Blow
    timer: threading.Timer | None = None


class Nemesis:
    """Does faults to one tree.  The same steps on the same tree pick the same victims.

    Its calls may come from any thread.  ``journal``: the file; without one the guardian alone keeps what is to be undone.
    ``on_undone`` is told of each strike that was undone, on the thread that did it.  Raises TreeUnreadable: a journal begins with
    whose it is.
    """

    def __init__(
        self,
        scene: Scene,
        journal: Path | None = None,
        *,
        title: str = "",
        seed: int = 0,
        on_undone: Callable[[Strike], None] | None = None,
    ) -> None:
        self.scene = scene
        self._path = journal
        self._journal = self._open(journal, title, seed) if journal is not None else None
        self._on_undone = on_undone
        self.guardian: Guardian | None = None
        self._lock = threading.RLock()
        self._is_over = False
        self._deeds: list[Deed] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def strikes(self) -> tuple[Strike, ...]:
        """All so far, with the times at which they were undone."""
        with self._lock:
            return tuple(deed.strike for deed in self._deeds)

    @property
    def outstanding(self) -> int:
        """How many are not undone, of those that can be."""
        with self._lock:
            return sum(_is_outstanding(deed) for deed in self._deeds)

    def check(self, step: Step) -> Fault:
        """The step's fault, if it can be done here.  Raises ConfigError that says what it needs."""
        fault = parse(step.fault, step.options)
        if reason := self.scene.missing(fault.needs, getattr(fault, "link", None)):
            raise ConfigError(f"{step.fault}: {reason}")
        if step.target is None and Need.VICTIM in fault.needs:
            raise ConfigError(f"{step.fault}: it needs a target; add 'target: {{role: worker}}'")
        if step.for_s is not None:
            fault.check_length(step.for_s)
        return fault

    def strike(self, step: Step, planned_at: float | None = None, patience_s: float = PATIENCE_S) -> tuple[Strike, ...]:
        """Do the step's fault, to each of its victims, once there are some.  A miss is a strike that was not applied; it says why.

        ``planned_at``: monotonic seconds, for the record.  ``patience_s``: of the wait for victims.
        With ``for_s`` it is undone after that time; without, by ``heal``.
        Raises ConfigError (see ``check``), and GuardianLost.
        """
        chance = Random(step.seed)
        planned_at = time.monotonic() if planned_at is None else planned_at
        try:
            fault = self.check(step)
            victims = self._victims(step.target, chance, patience_s) if Need.VICTIM in fault.needs else [None]
        except (NoVictim, TreeUnreadable) as error:
            return (self._miss(step, planned_at, str(error)),)
        return tuple(self._strike(step, fault, planned_at, victim, chance) for victim in victims)

    def finish(self) -> list[str]:
        """Undo all, and do nothing more: a strike that still looks for its victim misses. What could not be undone, as text."""
        with self._lock:
            self._is_over = True
            return self.heal()

    def heal(self, step: int | None = None) -> list[str]:
        """Undo what this step has done, or all that is not undone; what could not be, as text."""
        problems = []
        with self._lock:
            for deed in reversed(self._deeds):
                if step in (None, deed.strike.step) and _is_outstanding(deed):
                    try:
                        self._undo(deed)
                    except (RegrowError, OSError) as error:
                        problems.append(f"{deed.strike.fault}: {error}")
        return problems

    def close(self) -> None:
        """Finish, and end the guardian, which tries once more what could not be undone."""
        for problem in self.finish():
            self._write(Note(problem, time.monotonic()))
        if self.guardian is not None:
            self.guardian.close()
            self.guardian = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def recovery_s(self, strike: Strike, within_s: float) -> float:
        """Seconds from the strike until another process runs in the victim's place.  Raises NotRecovered."""
        assert strike.victim is not None
        assert strike.applied_at is not None
        while time.monotonic() < strike.applied_at + within_s:
            if self._is_replaced(strike.victim):
                return time.monotonic() - strike.applied_at
            time.sleep(LOOK_AGAIN_S)
        raise NotRecovered(f"{strike.victim.path} was not running again {within_s} s after the fault")

    def _is_replaced(self, victim: Victim) -> bool:
        try:
            node = self.scene.read_tree().find(victim.path)
        except TreeUnreadable:
            return False  # the victim may be what answers for the tree
        return node is not None and node.pid not in (None, victim.pid) and node.state is ChildState.RUNNING

    def _victims(self, target: Target | None, chance: Random, patience_s: float) -> list[Victim | None]:
        assert target is not None
        return [*wait_for_victims(self.scene, target, chance, patience_s)]

    def _strike(self, step: Step, fault: Fault, planned_at: float, victim: Victim | None, chance: Random) -> Strike:
        deed = Deed(0, _strike_of(step, planned_at, victim), Blow(self.scene, victim, chance))
        with self._lock:
            deed.number = len(self._deeds) + 1
            self._deeds.append(deed)
            try:
                if self._is_over:
                    raise NoVictim("the run was over before it was done")
                deed.blow.undos.extend(fault.prepare(deed.blow))
                self._secure(step, deed)
                at = time.monotonic()
                detail = fault.strike(deed.blow)
            except GuardianLost:
                self._withdraw(deed, "")
                raise
            except (RegrowError, OSError) as error:
                self._withdraw(deed, str(error))
            else:
                deed.strike = msgspec.structs.replace(deed.strike, applied_at=at, detail=detail)
                if step.for_s is not None and _is_outstanding(deed):
                    self._end_after(deed, step.for_s)
            self._write(Applied(deed.number, deed.strike))
            return deed.strike

    def _secure(self, step: Step, deed: Deed) -> None:
        """From here on it will be undone whatever happens to this process."""
        undos = tuple(deed.blow.undos)
        victim, now = deed.strike.victim, time.monotonic()
        self._write(Intent(deed.number, step.number, step.fault, step.options, victim, undos, now))
        if undos:
            if self.guardian is None:
                self.guardian = Guardian(self._path)
            self.guardian.hold(deed.number, undos)

    def _end_after(self, deed: Deed, for_s: float) -> None:
        if deed.blow.undos and self.guardian is not None:
            self.guardian.start(deed.number, for_s + LATE_S)
        deed.timer = threading.Timer(for_s, self._undo_in_time, (deed,))
        deed.timer.daemon = True
        deed.timer.start()

    def _undo_in_time(self, deed: Deed) -> None:
        with self._lock:
            if _is_outstanding(deed):
                try:
                    self._undo(deed)
                except (RegrowError, OSError) as error:
                    self._write(Note(f"{deed.strike.fault}: {error}", time.monotonic()))

    def _withdraw(self, deed: Deed, why: str) -> None:
        """It missed, or half of it did: whatever there is of it goes."""
        deed.strike = msgspec.structs.replace(deed.strike, detail=why)
        try:
            self._undo(deed)
        except UndoFailed as error:
            deed.strike = msgspec.structs.replace(deed.strike, detail=f"{why}; {error}")

    def _undo(self, deed: Deed) -> None:
        """Raises UndoFailed; then it can be tried again."""
        if deed.timer is not None:
            deed.timer.cancel()
        while deed.blow.heal:
            deed.blow.heal[-1]()
            deed.blow.heal.pop()
        said: tuple[str, ...] = ()
        if deed.blow.undos:
            said = self._run(deed)
        now = time.monotonic()
        if deed.strike.applied_at is not None:
            deed.strike = msgspec.structs.replace(deed.strike, undone_at=now)
        self._write(Undone(deed.number, "nemesis", said, now))
        deed.blow.undos.clear()
        if self._on_undone is not None and deed.strike.applied_at is not None:
            self._on_undone(deed.strike)

    def _run(self, deed: Deed) -> tuple[str, ...]:
        """Have its undos run, by the guardian, or here if there is none any more.  Raises UndoFailed."""
        if self.guardian is not None:
            with suppress(GuardianLost):
                return self.guardian.undo(deed.number)
        said, problems = undo.run(deed.blow.undos)
        if problems:
            raise UndoFailed("; ".join(problems))
        return said

    def _miss(self, step: Step, planned_at: float, why: str) -> Strike:
        with self._lock:
            strike = msgspec.structs.replace(_strike_of(step, planned_at, None), detail=why)
            self._deeds.append(Deed(len(self._deeds) + 1, strike, Blow(self.scene, None, Random())))
            self._write(Applied(len(self._deeds), strike))
            return strike

    def _write(self, record: Intent | Applied | Undone | Note) -> None:
        if self._journal is not None:
            self._journal.write(record)

    def _open(self, path: Path, title: str, seed: int) -> Journal:
        root = self.scene.read_tree().pid or 0
        journal = Journal(path)
        at, wall_at = time.monotonic(), time.time()
        me = os.getpid()
        journal.write(Header(title, seed, self.scene.gateway, root, start_time(root), me, at, wall_at, start_time(me)))
        return journal


def _strike_of(step: Step, now: float, victim: Victim | None) -> Strike:
    return Strike(
        step.number, step.fault, step.options, now, victim=victim, worker=victim.worker if victim is not None else ""
    )


def _is_outstanding(deed: Deed) -> bool:
    """Can it be undone, and was not yet?  Of a kill there is nothing to undo."""
    return deed.strike.undone_at is None and (bool(deed.blow.undos) or bool(deed.blow.heal))
