"""Values: a picture of the tree, as nested nodes, what happens in it, and the questions that a supervisor answers about its
children."""

from collections.abc import Iterator
from enum import StrEnum

import msgspec

from regrow.runtime.spec import ChildSpec, ChildState, ExitReason, Restart


class TreeNode(msgspec.Struct, frozen=True):
    """One process of the tree and what is below it.

    ``restarts`` counts those of this node itself. ``facts`` are small texts that the actor shows of itself.
    """

    name: str
    path: str
    role: str
    pid: int | None  # None: no process now
    state: ChildState
    incarnation: int
    restarts: int
    children: tuple["TreeNode", ...] = ()
    facts: dict[str, str] = {}

    def walk(self) -> Iterator["TreeNode"]:
        """This node and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def find(self, path: str) -> "TreeNode | None":
        """The node at ``path``, if it is in the picture."""
        return next((node for node in self.walk() if node.path == path), None)


class WhichChildren(msgspec.Struct, frozen=True, tag="which_children", forbid_unknown_fields=True):
    """Answered by Children."""


class CountChildren(msgspec.Struct, frozen=True, tag="count_children", forbid_unknown_fields=True):
    """Answered by Counts."""


class Tree(msgspec.Struct, frozen=True, tag="tree", forbid_unknown_fields=True):
    """Answered by TreeNode, at once, whatever the children do."""


class StartChild(msgspec.Struct, frozen=True, tag="start_child", forbid_unknown_fields=True):
    """Add a child and start it; answered by Done when its init is done."""

    spec: ChildSpec


class TerminateChild(msgspec.Struct, frozen=True, tag="terminate_child", forbid_unknown_fields=True):
    """Stop a child and keep its spec; answered by Done when it has ended."""

    id: str


class RestartChild(msgspec.Struct, frozen=True, tag="restart_child", forbid_unknown_fields=True):
    """Start a child that was stopped; answered by Done when its init is done."""

    id: str


class DeleteChild(msgspec.Struct, frozen=True, tag="delete_child", forbid_unknown_fields=True):
    """Forget the spec of a stopped child; answered by Done."""

    id: str


class Resize(msgspec.Struct, frozen=True, tag="resize", forbid_unknown_fields=True):
    """Give a pool another size; answered by Done when it has it."""

    size: int


class Follow(msgspec.Struct, frozen=True, tag="follow", forbid_unknown_fields=True):
    """A cast: answered by one News cast, of what came ``after`` that number (0: of all that is kept), once there is some."""

    after: int


Operation = StartChild | TerminateChild | RestartChild | DeleteChild | Resize
SupervisorMessage = WhichChildren | CountChildren | Tree | Follow | Operation


class Child(msgspec.Struct, frozen=True):
    """One line of WhichChildren's answer. ``reason`` tells its last end."""

    id: str
    pid: int | None
    state: ChildState
    incarnation: int
    restarts: int
    restart: Restart
    reason: ExitReason | None


class Children(msgspec.Struct, frozen=True):
    """The children of one supervisor, in start order."""

    children: tuple[Child, ...]


class Counts(msgspec.Struct, frozen=True):
    """How many children a supervisor has: specs, those with a process, and by kind."""

    specs: int
    active: int
    supervisors: int
    workers: int


class Happening(msgspec.Struct, frozen=True):
    """Something that happened to the child at ``path``. ``event`` is a name of the runtime's events.

    ``at``: Unix seconds of its supervisor's machine.
    """

    at: float
    event: str
    path: str
    incarnation: int
    pid: int | None = None
    reason: str = ""


class News(msgspec.Struct, frozen=True, tag="news", forbid_unknown_fields=True):
    """What happened in a supervisor's branch, in order, numbered from ``first``; numbers that are missing are not kept any more."""

    first: int
    happenings: tuple[Happening, ...]

    @property
    def last(self) -> int:
        """The number to follow from."""
        return self.first + len(self.happenings) - 1


class Done(msgspec.Struct, frozen=True):
    """It was done."""


class TreeEventKind(StrEnum):
    """What the root tells the program that launched it."""

    STARTED = "started"  # all initial children are ready
    CHILD_UP = "child_up"
    CHILD_DOWN = "child_down"
    CHANGED = "changed"  # something else in the picture
    STOPPING = "stopping"  # somebody asked it to end
    FINISHED = "finished"  # nothing is left; ``reason`` tells why


class TreeEvent(msgspec.Struct, frozen=True):
    """A change of the tree as the root sees it; ``path`` is a direct child of the root, or the root itself."""

    kind: TreeEventKind
    path: str
    tree: TreeNode
    pid: int | None = None
    reason: ExitReason | None = None
