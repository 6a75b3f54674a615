"""Shell: ``regrow gateway``, and the commands that talk to one: tree, submit, status, result, story, scale."""

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from cyclopts import App, Parameter

from regrow.actors.commands import DEFAULT_REDIS
from regrow.actors.flags import CapFlags, CommonFlags, GatewayFlags, StoreFlags
from regrow.actors.picture import branch, wide_console
from regrow.actors.task import FINAL, FailureKind, State
from regrow.runtime.errors import ConfigError
from regrow.runtime.place import Place
from regrow.runtime.tree import TreeNode

app = App()
LONG_POLL_S = 30.0
PATIENCE_S = 5.0  # with a gateway that does not answer: more than its restart takes, less than a person waits


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AloneFlags(CommonFlags, StoreFlags, GatewayFlags, CapFlags):
    """One gateway."""


@app.command
def gateway(*, flags: AloneFlags = AloneFlags()) -> int:
    """Run a gateway alone, on the store at --redis-url (default redis://127.0.0.1:6379/0)."""
    from regrow.gateway.server import serve_alone
    from regrow.runtime import events

    settings = flags.settings(redis_url=flags.redis_url or DEFAULT_REDIS)
    events.identify("gateway", 1, settings.log_level)
    return serve_alone(settings)


@app.command
def tree(*, as_json: bool = False, place: Place = Place()) -> None:
    """Show the running tree: who runs, in which state, under which pid.

    Parameters
    ----------
    as_json
        print the answer of GET /v1/tree as it is
    """
    from regrow.gateway.client import Client

    with Client(place.gateway(), patience_s=PATIENCE_S) as client:
        answer = client.tree()
    if as_json:
        print(json.dumps(answer, indent=2))  # noqa: T201 (the command's output)
        return
    wide_console().print(branch(msgspec.convert(answer, TreeNode)))


@app.command
def submit(function: str, /, *arguments: str, wait: bool = False, place: Place = Place()) -> int:
    """Submit one call, ``regrow submit math:hypot 3 4``, and print the task's id.

    Parameters
    ----------
    function
        MODULE:FUNCTION, importable from here; it travels by value
    arguments
        each is read as JSON if it is JSON, else it is a string
    wait
        wait for the end and print the value
    """
    from regrow.gateway.client import Client

    with Client(place.gateway(), patience_s=PATIENCE_S) as client:
        future = client.submit(locate(function), *map(argument, arguments))
    if not future.task_id:  # leaving the block has sent it
        raise future.exception() or ConfigError("the gateway gave no id")
    print(future.task_id)  # noqa: T201 (the command's output)
    return result(future.task_id, place=place) if wait else 0


@app.command
def status(task_id: str, /, *, place: Place = Place()) -> int:
    """Print where a task stands: QUEUED, RUNNING, COMPLETED or FAILED."""
    from regrow.gateway.client import Client

    with Client(place.gateway(), patience_s=PATIENCE_S) as client:
        print(client.status(task_id))  # noqa: T201 (the command's output)
    return 0


@app.command
def result(task_id: str, /, *, timeout: float | None = None, place: Place = Place()) -> int:
    """Wait for a task's end and print its value; for a failed one its traceback, with exit code 1.

    Parameters
    ----------
    timeout
        seconds to wait (default: as long as it takes)
    """
    from regrow.gateway.client import Client

    with Client(place.gateway(), patience_s=PATIENCE_S) as client:
        task = client.task(task_id, LONG_POLL_S if timeout is None else timeout)
        while timeout is None and task.status not in FINAL:
            task = client.task(task_id, LONG_POLL_S)
        if task.status is State.COMPLETED:
            print(repr(client.result(task_id)))  # noqa: T201 (the command's output)
            return 0
    if task.error is None:
        sys.stderr.write(f"{task.status} still, after {timeout:g} s\n")
    else:
        story = task.error.traceback if task.error.kind == FailureKind.RAISED else ""
        sys.stderr.write(story or f"{task.error.kind}: {task.error.message}\n")
    return 1


@app.command
def story(task_id: str, /, *, as_json: bool = False, place: Place = Place()) -> None:
    """Tell what has happened to a task: each attempt, on which worker, how it ended, and why it ran again.

    Parameters
    ----------
    as_json
        print the answer of GET /v1/tasks/ID/story as it is
    """
    from regrow.gateway.client import Client
    from regrow.gateway.storybook import show

    with Client(place.gateway(), patience_s=PATIENCE_S) as client:
        answer = client.story(task_id)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(answer)).decode())  # noqa: T201 (the command's output)
    else:
        show(wide_console(), answer)


@app.command
def scale(change: str, /, *, place: Place = Place()) -> int:
    """Give the pool another size while it runs: ``regrow scale worker=4``.

    Parameters
    ----------
    change
        worker=N
    """
    from regrow.gateway.client import Client

    name, _, size = change.partition("=")
    if name not in ("worker", "workers") or not size.isdigit():
        raise ConfigError(f"{change!r}: say worker=N, for example 'regrow scale worker=4'")
    with Client(place.gateway(), patience_s=PATIENCE_S) as client:
        client.scale(int(size))
    print(f"workers: {size}")  # noqa: T201 (the command's output)
    return 0


def locate(reference: str) -> Callable[..., Any]:
    """The function at MODULE:FUNCTION, with the current directory importable.  Raises ConfigError."""
    module_name, _, name = reference.partition(":")
    if not name:
        raise ConfigError(f"{reference!r}: say MODULE:FUNCTION, for example math:hypot")
    sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{reference}: {error}") from None
    if not callable(found):
        raise ConfigError(f"{reference} is not callable")
    return cast("Callable[..., Any]", found)


def argument(text: str) -> object:
    """JSON where it is JSON, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
