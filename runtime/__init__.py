"""regrow.runtime: a supervision tree of operating-system processes, by the rules of Erlang/OTP.

Generic: it knows processes, mailboxes and heartbeats, and nothing of what they are used for::

    from regrow.runtime import Actor, SupervisorSpec, child, run_root

    class Greeter(Actor): ...

    if __name__ == "__main__":
        raise SystemExit(run_root(SupervisorSpec(children=(child("greeter", Greeter),))))

The names below are imported when they are first used: a process loads no more of this than it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ != "regrow.runtime":
    raise ImportError(f"import this package as regrow.runtime, not as {__name__}: a second copy would split its state")

if TYPE_CHECKING:
    from regrow.runtime.actor import Actor, Context, Down, NoArguments, Timer, run_alone
    from regrow.runtime.async_actor import AsyncActor, AsyncContext
    from regrow.runtime.errors import CallRefused, CallTimeout, ConfigError, NoSuchActor, RegrowError
    from regrow.runtime.guest import Guest, ask_root, tree_of
    from regrow.runtime.reference import branch, child
    from regrow.runtime.root import run_root
    from regrow.runtime.spec import (
        AutoShutdown,
        Backoff,
        ChildKind,
        ChildSpec,
        ChildState,
        ExitReason,
        Heartbeat,
        Intensity,
        ReasonKind,
        Restart,
        Strategy,
        SupervisorSpec,
    )
    from regrow.runtime.supervisor import Supervisor
    from regrow.runtime.tree import Follow, Happening, News, TreeEvent, TreeEventKind, TreeNode

_HOME = {
    "actor": ("Actor", "Context", "Down", "NoArguments", "Timer", "run_alone"),
    "async_actor": ("AsyncActor", "AsyncContext"),
    "errors": ("CallRefused", "CallTimeout", "ConfigError", "NoSuchActor", "RegrowError"),
    "guest": ("Guest", "ask_root", "tree_of"),
    "reference": ("branch", "child"),
    "root": ("run_root",),
    "spec": (
        "AutoShutdown", "Backoff", "ChildKind", "ChildSpec", "ChildState", "ExitReason", "Heartbeat", "Intensity",
        "ReasonKind", "Restart", "Strategy", "SupervisorSpec",
    ),
    "supervisor": ("Supervisor",),
    "tree": ("Follow", "Happening", "News", "TreeEvent", "TreeEventKind", "TreeNode"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Actor",
    "AsyncActor",
    "AsyncContext",
    "AutoShutdown",
    "Backoff",
    "CallRefused",
    "CallTimeout",
    "ChildKind",
    "ChildSpec",
    "ChildState",
    "ConfigError",
    "Context",
    "Down",
    "ExitReason",
    "Follow",
    "Guest",
    "Happening",
    "Heartbeat",
    "Intensity",
    "News",
    "NoArguments",
    "NoSuchActor",
    "ReasonKind",
    "RegrowError",
    "Restart",
    "Strategy",
    "Supervisor",
    "SupervisorSpec",
    "Timer",
    "TreeEvent",
    "TreeEventKind",
    "TreeNode",
    "ask_root",
    "branch",
    "child",
    "run_alone",
    "run_root",
    "tree_of",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"regrow.runtime has no {name}")
    return getattr(import_module(f"regrow.runtime.{_MODULE_OF[name]}"), name)
