"""Shell: ``regrow gateway``, and the commands that ask one: tree, status, result, story, scale; more in calls.py, letter_commands.py."""

import json
import sys
from dataclasses import dataclass

import msgspec
from cyclopts import App, Parameter

from regrow.actors.commands import DEFAULT_REDIS
from regrow.actors.flags import CapFlags, CommonFlags, GatewayFlags, StoreFlags
from regrow.actors.picture import branch, wide_console
from regrow.gateway import calls, letter_commands
from regrow.runtime.errors import ConfigError
from regrow.runtime.place import Place
from regrow.runtime.tree import TreeNode

app = App()
for more in (calls.app, letter_commands.app):
    app.command(more, name="*")
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
def status(task_id: str, /, *, place: Place = Place()) -> int:
    """Print where a task stands: QUEUED, RUNNING, COMPLETED or FAILED."""
    from regrow.gateway.client import Client

    with Client(place.gateway(), patience_s=PATIENCE_S) as client:
        print(client.status(task_id))  # noqa: T201 (the command's output)
    return 0


@app.command
def result(task_id: str, /, *, timeout: float | None = None, place: Place = Place()) -> int:
    """Wait for a task's end and print its value; for a failed one why, and what it had printed, with exit code 1.

    Parameters
    ----------
    timeout
        seconds to wait (default: as long as it takes)
    """
    from regrow.gateway.client import Client
    from regrow.gateway.endings import tell_end

    with Client(place.gateway(), patience_s=PATIENCE_S) as client:
        return tell_end(client, task_id, timeout)


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
    if not answer.complete:
        sys.stderr.write("its oldest moves are kept no more: of these, what the task's own record tells\n")


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
