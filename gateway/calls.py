"""Shell: the commands that start and cancel tasks: submit, cancel."""

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from cyclopts import App, Parameter

from regrow.runtime.errors import ConfigError
from regrow.runtime.place import Place

app = App()
PATIENCE_S = 5.0  # with a gateway that does not answer: more than its restart takes, less than a person waits


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CallFlags:
    """What is said about one call."""

    wall_s: float | None = None
    "seconds that one attempt may take; it is killed then"
    deadline_s: float | None = None
    "seconds from now in which it has to have ended, with all attempts and waits"
    delay_s: float | None = None
    "seconds from now before which it does not start"
    expires_s: float | None = None
    "seconds from now after which it does not start any more"
    max_attempts: int | None = None
    "deaths of its process before it is given up; 1: never started twice"
    retries: int = 0
    "how often it is tried again if it raises"


@app.command
def submit(
    function: str, /, *arguments: str, wait: bool = False, flags: CallFlags = CallFlags(), place: Place = Place()
) -> int:
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
    from regrow.gateway.client import Client, Limits, Retry
    from regrow.gateway.endings import tell_end

    if flags.retries and flags.max_attempts == 1:
        sys.stderr.write("--retries has no effect with --max-attempts 1: what may be started once is not tried again\n")
    with Client(place.gateway(), patience_s=PATIENCE_S) as client:
        callee = client.function(locate(function), retry=Retry(count=flags.retries) if flags.retries else None)
        asked = client.options(
            limits=None if flags.wall_s is None else Limits(wall_s=flags.wall_s),
            delay_s=flags.delay_s,
            expires_s=flags.expires_s,
            deadline_s=flags.deadline_s,
            max_attempts=flags.max_attempts,
        )
        future = asked.submit(callee, *map(argument, arguments))
    if not future.task_id:  # leaving the block has sent it
        raise future.exception() or ConfigError("the gateway gave no id")
    print(future.task_id)  # noqa: T201 (the command's output)
    if not wait:
        return 0
    with Client(place.gateway(), patience_s=PATIENCE_S) as client:
        return tell_end(client, future.task_id)


@app.command
def cancel(task_id: str, /, *more: str, only_queued: bool = False, place: Place = Place()) -> int:
    """End tasks, queued or running; exit code 1 unless all of them are cancelled then.

    Parameters
    ----------
    more
        further ids
    only_queued
        let those that run go on
    """
    from regrow.gateway.client import Client

    with Client(place.gateway(), patience_s=PATIENCE_S) as client:
        answer = client.cancel(task_id, *more, only_queued=only_queued)
    told = dict.fromkeys(answer.cancelled, "cancelled")
    told |= dict.fromkeys(answer.ended, "had ended before")
    told |= dict.fromkeys(answer.running, "runs, and goes on")
    told |= dict.fromkeys(answer.unknown, "unknown")
    for name, what in told.items():
        print(f"{name} {what}")  # noqa: T201 (the command's output)
    return 0 if set(told.values()) == {"cancelled"} else 1


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
