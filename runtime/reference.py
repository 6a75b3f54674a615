"""Shell: how an actor class is named in a spec, and found again in another process."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from regrow.runtime.errors import ConfigError
from regrow.runtime.spec import AutoShutdown, ChildKind, ChildSpec, SupervisorSpec, validate_child, validate_supervisor

if TYPE_CHECKING:
    from regrow.runtime.actor import Actor
    from regrow.runtime.async_actor import AsyncActor


def reference(actor_class: type) -> str:
    """``package.module:Class``; a class of a script that is being run is named by the script's absolute path."""
    module = sys.modules[actor_class.__module__]
    if module.__name__ != "__main__":
        return f"{module.__name__}:{actor_class.__qualname__}"
    if module.__spec__ is not None:  # python -m package.module
        return f"{module.__spec__.name}:{actor_class.__qualname__}"
    if getattr(module, "__file__", None) is None:
        raise ConfigError(
            f"{actor_class.__qualname__} is defined at a prompt: put it into a file, or no process can load it"
        )
    return f"{Path(cast('str', module.__file__)).resolve()}:{actor_class.__qualname__}"


def load(actor: str) -> type:
    """The class behind a reference.  Raises ConfigError that tells what is missing."""
    place, _, name = actor.rpartition(":")
    try:
        found: Any = _script(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, FileNotFoundError) as error:
        raise ConfigError(f"actor {actor} cannot be loaded: {error}") from error
    return cast("type", found)


def _script(path: Path) -> object:
    """The script as a module of its own name, so that its ``__main__`` block does not run."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def child(
    id: str,
    actor_class: "type[Actor[Any, Any] | AsyncActor[Any, Any]]",
    arguments: msgspec.Struct | None = None,
    **fields: Any,
) -> ChildSpec:
    """The spec of a child that runs ``actor_class(arguments)``; ``fields`` are ChildSpec's.  Raises ConfigError."""
    packed = b"\x80" if arguments is None else msgspec.msgpack.encode(arguments)
    spec = ChildSpec(id=id, actor=reference(actor_class), arguments=packed, role=actor_class.role, **fields)
    validate_child(spec, AutoShutdown.ALL_SIGNIFICANT)
    return spec


def branch(id: str, spec: SupervisorSpec, **fields: Any) -> ChildSpec:
    """The spec of a child that is a supervisor itself; ``fields`` are ChildSpec's.  Raises ConfigError."""
    validate_supervisor(spec)
    sub = ChildSpec(
        id=id,
        actor="regrow.runtime.supervisor:Supervisor",
        arguments=msgspec.msgpack.encode(spec),
        **{"kind": ChildKind.SUPERVISOR, "shutdown_s": None, **fields},
    )
    validate_child(sub, AutoShutdown.ALL_SIGNIFICANT)
    return sub
