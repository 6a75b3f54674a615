"""Shell: what every fault is: a frozen struct of its options, what it needs, and how it is made and undone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from subprocess import Popen
from typing import Annotated, ClassVar

import msgspec

from regrow.chaos.fault import Victim
from regrow.chaos.lineage import NoVictim
from regrow.chaos.scene import Need, Scene
from regrow.chaos.undo import Undo
from regrow.runtime.errors import ConfigError

LONGEST_S = 24 * 3600.0

Seconds = Annotated[float, msgspec.Meta(gt=0, le=LONGEST_S)]
SecondsOrNone = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_S)]
Chance = Annotated[float, msgspec.Meta(gt=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


@dataclass(frozen=True, slots=True)
class Blow:
    """One time that a fault is made: where, to whom, and by what chance.

    ``heal``: what this process itself has to do to undo it is added there, before it is done; all else is in the undos that
    ``prepare`` gives, which hold also when this process is no more.
    """

    scene: Scene
    who: Victim | None
    chance: Random
    heal: list[Callable[[], None]] = field(default_factory=list)
    undos: list[Undo] = field(default_factory=list)  # as ``prepare`` gave them
    helpers: list[Popen[bytes]] = field(default_factory=list)  # processes that ``prepare`` has started

    @property
    def victim(self) -> Victim:
        """The process to be hit.  Raises NoVictim."""
        if self.who is None:
            raise NoVictim("this fault needs a target")
        return self.who


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="fault"):
    """The base of all: ``tag`` is its name in experiments, its fields are its options, the docstring's first line says what it does."""

    needs: ClassVar[frozenset[Need]] = frozenset()

    @classmethod
    def lasts(cls) -> bool:
        """Is there anything to undo?  Else it is over as soon as it is made."""
        return cls.prepare is not Fault.prepare

    def check_length(self, for_s: float) -> None:
        """Can it be undone after ``for_s``?  Raises ConfigError."""
        name = self.__struct_config__.tag
        if not self.lasts():
            raise ConfigError(f"{name} for {for_s:g} s: it is over at once, and nothing of it can be undone")
        if not 0 < for_s <= LONGEST_S:
            raise ConfigError(f"{name} for {for_s:g} s: use more than 0 and at most {LONGEST_S:g} seconds")

    def prepare(self, blow: Blow) -> tuple[Undo, ...]:  # noqa: ARG002
        """Get ready, without harm to anybody; what will undo it.  They are on disk, and held by the guardian, before ``strike``."""
        return ()

    def strike(self, blow: Blow) -> str:
        """Make it; a few words on what was done.  Raises NoVictim when the victim has ended meanwhile."""
        raise NotImplementedError
