"""Shell: a whole tree for a test, with faults at hand: what the pytest plugin gives, and usable without it.

::

    with open_testbed(Configuration(workers=2)) as bed:
        future = bed.client.submit(transfer, 100)
        bed.kill(while_running=True)             # a worker that runs something; raises when there was none to hit
        assert future.result(30) == 100

The tree is started for this on free ports, in a directory of its own, and ends with the block, or with this process whatever happens to
it.  At the end every fault is undone, and every process of the tree must be gone: see ``Leak``.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

from regrow.chaos.dice import derived
from regrow.chaos.evidence import Strike
from regrow.chaos.experiment import Configuration, Doing, Step, Target
from regrow.chaos.fault import Role
from regrow.chaos.nemesis import Nemesis
from regrow.chaos.stage import Stage, own
from regrow.chaos.tree import TreeUnreadable
from regrow.gateway.client import Client
from regrow.runtime.errors import RegrowError
from regrow.runtime.spec import ChildState
from regrow.runtime.tree import TreeNode

HIT_WITHIN_S: Final = 10.0  # a fault waits so long for somebody who does what it wants
WHOLE_WITHIN_S: Final = 30.0
LOOK_AGAIN_S: Final = 0.02


class FaultMissed(RegrowError):
    """A fault found nobody to be done to: a test that goes on would prove nothing."""

    code = "fault_missed"


class NotWhole(RegrowError):
    """The tree was not whole again in time."""

    code = "not_whole"


class Leak(RegrowError):
    """Processes of the tree, or what tasks had started, have outlived it."""

    code = "leak"


class Testbed:
    """A running tree. ``client``: connected to it, through a proxy that faults on ``client-gateway`` are done at."""

    __test__ = False  # it is no test, whatever pytest makes of its name

    def __init__(self, stage: Stage, nemesis: Nemesis, client: Client, configuration: Configuration, seed: int) -> None:
        self.client = client
        self.configuration = configuration
        self._stage = stage
        self._nemesis = nemesis
        self._seed = seed
        self._numbers = count(1)

    @property
    def url(self) -> str:
        """Of its gateway."""
        return self._stage.door

    def tree(self) -> TreeNode:
        """Its picture, now.  Raises TreeUnreadable while its gateway is down."""
        return self._stage.scene.read_tree()

    def kill(self, role: str = "worker", name: str = "", *, while_running: bool = False) -> Strike:
        """SIGKILL to a random one of this role, or the one called so.  Raises FaultMissed."""
        return self.strike("kill", target=_target(role, name, while_running=while_running))

    def freeze(
        self, role: str = "worker", name: str = "", *, for_s: float = 5.0, while_running: bool = False
    ) -> Strike:
        """SIGSTOP, and SIGCONT after ``for_s`` seconds; does not wait for that.  Raises FaultMissed."""
        return self.strike("stop", target=_target(role, name, while_running=while_running), for_s=for_s)

    def strike(self, fault: str, *, target: Target | None = None, for_s: float | None = None, **options: Any) -> Strike:
        """Do any fault of the catalogue, now; it is undone after ``for_s``, or at the end.  Raises FaultMissed, ConfigError.

        Waits up to HIT_WITHIN_S seconds for a victim that does what the target says.
        """
        strikes = self._nemesis.strike(self._step(fault, options, target, for_s), patience_s=HIT_WITHIN_S)
        hit = next((strike for strike in strikes if strike.applied_at is not None), None)
        if hit is None:
            raise FaultMissed(f"{fault}: {strikes[0].detail}")
        return hit

    @contextmanager
    def fault(self, fault: str, *, target: Target | None = None, **options: Any) -> Iterator[Strike]:
        """Do it for the length of a block."""
        strike = self.strike(fault, target=target, **options)
        try:
            yield strike
        finally:
            self.heal(strike)

    def heal(self, strike: Strike | None = None) -> None:
        """Undo this fault, or all.  Raises RegrowError where that cannot be done."""
        problems = self._nemesis.heal(strike.step if strike else None)
        if problems:
            raise RegrowError("; ".join(problems))

    def wait_whole(self, within_s: float = WHOLE_WITHIN_S) -> None:
        """Return when every actor runs and every worker is registered again.  Raises NotWhole that says what is missing."""
        deadline = time.monotonic() + within_s
        while (missing := self._missing()) and time.monotonic() < deadline:
            time.sleep(LOOK_AGAIN_S)
        if missing:
            raise NotWhole(f"after {within_s:g} s: {missing}")

    def _missing(self) -> str:
        try:
            tree, workers = self.tree(), self._stage.scene.workers()
        except TreeUnreadable as error:
            return str(error)
        down = [node.path for node in tree.walk() if node.state is not ChildState.RUNNING]
        registered = len({worker.name for worker in workers})
        if registered < self.configuration.workers:
            down.append(f"{registered} of {self.configuration.workers} workers are registered")
        return ", ".join(down)

    def _step(self, fault: str, options: dict[str, Any], target: Target | None, for_s: float | None) -> Step:
        number = next(self._numbers)
        return Step(number, 0.0, fault, options, target, for_s, derived(self._seed, number))


@contextmanager
def open_testbed(configuration: Configuration = Configuration(), *, log: Path, seed: int = 0) -> Iterator[Testbed]:  # noqa: B008 (a frozen value)
    """A tree for the length of a block; its log goes to ``log``.  Raises Leak at the end, ProgramFailed when it does not start."""
    with ExitStack() as stack:
        stage = stack.enter_context(own(configuration, log))
        nemesis = stack.enter_context(Nemesis(stage.scene, seed=seed))
        client = stack.enter_context(Client(stage.door))
        bed = Testbed(stage, nemesis, client, configuration, seed)
        bed.wait_whole()
        yield bed
        bed.heal()
        left = stage.end()
        if left:
            raise Leak(f"still alive after their tree had ended, and killed now: {', '.join(left)}")


def _target(role: str, name: str, *, while_running: bool) -> Target:
    return Target(Role(role), name, doing=Doing.RUNNING_TASK if while_running else Doing.ANYTHING)
