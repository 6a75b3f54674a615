"""Shell: one incarnation of a child as its supervisor holds it, and how it is shown."""

from dataclasses import dataclass
from typing import Final

from regrow.runtime import tree
from regrow.runtime.children import ChildView
from regrow.runtime.process import Process
from regrow.runtime.spec import ChildKind, ChildSpec
from regrow.runtime.tree import TreeNode
from regrow.runtime.wire import Show

NOTHING_SHOWN: Final = Show((), {})


@dataclass(slots=True)
class Life:
    """One incarnation of a child, as long as it has a process."""

    incarnation: int
    spec: ChildSpec
    process: Process
    shown: Show = NOTHING_SHOWN
    is_watched: bool = True  # its end is not known yet


def node(view: ChildView, life: Life | None, role: str | None, path: str) -> TreeNode:
    """The child at ``path`` and what it shows below itself; ``role`` as it told itself, if it has."""
    is_supervisor = view.spec.kind is ChildKind.SUPERVISOR
    return TreeNode(
        name=view.id,
        path=path,
        role=role or view.spec.role or ("supervisor" if is_supervisor else "actor"),
        pid=life.process.pid if life else None,
        state=view.state,
        incarnation=view.incarnation,
        restarts=view.restarts,
        children=life.shown.children if life else (),
        facts=life.shown.facts if life else {},
    )


def line(view: ChildView, life: Life | None) -> tree.Child:
    """The child as WhichChildren lists it."""
    pid = life.process.pid if life else None
    return tree.Child(view.id, pid, view.state, view.incarnation, view.restarts, view.spec.restart, view.reason)
