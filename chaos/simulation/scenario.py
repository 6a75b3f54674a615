"""Values: what is simulated: the trees, their load, and what is done to them; and what came of it."""

from enum import StrEnum

import msgspec

from regrow.actors.wire import Mode


class FaultKind(StrEnum):
    """What can be done."""

    WORKER_KILL = "worker.kill"
    WORKER_FREEZE = "worker.freeze"  # its own process: its slots go on
    WORKER_SUSPEND = "worker.suspend"  # with its slots, as a machine that sleeps
    SLOT_KILL = "slot.kill"
    SLOT_FREEZE = "slot.freeze"
    DISPATCHER_KILL = "dispatcher.kill"
    DISPATCHER_FREEZE = "dispatcher.freeze"
    POOL_KILL = "supervisor.kill"
    POOL_FREEZE = "supervisor.freeze"
    POOL_RESIZE = "pool.resize"
    ROOT_KILL = "root.kill"
    ROOT_FREEZE = "root.freeze"
    TREE_STOP = "tree.stop"  # in order, and started again
    STORE_KILL = "store.kill"
    STORE_FREEZE = "store.freeze"
    STORE_SLOW = "store.slow"
    STORE_RESET = "store.reset"  # its connections
    STORE_CUT = "store.cut"  # one dispatcher's line to it
    GATEWAY_KILL = "gateway.kill"
    LINK_CUT = "link.cut"
    LINK_ONE_WAY = "link.one_way"
    LINK_FLAP = "link.flap"
    LINK_DELAY = "link.delay"
    LINK_RESET = "link.reset"
    LINK_DAMAGE = "link.damage"
    LINK_DOUBLE = "link.double"  # this and the next only in wild scenarios: TCP does neither
    LINK_OVERTAKE = "link.overtake"
    MACHINE_SUSPEND = "machine.suspend"  # every process of a tree at once
    PARTITION = "partition"  # half of the workers at once
    START_FAIL = "start.fail"
    START_SLOW = "start.slow"


WILD = frozenset({FaultKind.LINK_DOUBLE, FaultKind.LINK_OVERTAKE})


class Step(msgspec.Struct, frozen=True):
    """One fault.  ``at_s`` from the start; ``for_s``: undone after that; ``place``: a number that picks the victim."""

    at_s: float
    kind: FaultKind
    for_s: float
    tree: int
    place: int
    extra: float  # how bad, 0 to 1


class Scenario(msgspec.Struct, frozen=True):
    """One seed's world."""

    seed: int
    mode: Mode
    trees: int
    workers: int  # of each tree
    outsiders: int  # workers outside of any tree, of the first dispatcher
    slots: int
    tasks: int
    chaos_s: float
    base_s: float  # latency of a message
    round_s: float  # of a dispatcher's loop
    burst: int  # tasks that are submitted at once, at most
    mix: dict[str, float]
    cancelled: float  # share of the tasks
    is_wild: bool
    steps: tuple[Step, ...]


class Result(msgspec.Struct, frozen=True):
    """What came of one seed.  ``invariant`` "": valid."""

    seed: int
    digest: str
    tasks: int
    runs: int
    events: int
    simulated_s: float
    faults: dict[str, int]
    seen: dict[str, int]
    invariant: str = ""
    detail: str = ""
    at_s: float = 0.0
    lines: tuple[str, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Nothing contradicted any invariant."""
        return not self.invariant
