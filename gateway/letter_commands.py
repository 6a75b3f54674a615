"""Shell: ``regrow dead``: the failed tasks that regrow gave up: list, show, requeue, purge."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import App, Parameter
from rich.table import Table

from regrow.actors.picture import wide_console
from regrow.gateway.answers import AttemptView, LetterView, TaskView
from regrow.runtime.errors import ConfigError, RegrowError
from regrow.runtime.place import Place

if TYPE_CHECKING:  # slow to import
    from regrow.gateway.dead_letters import DeadLetters

app = App()
dead = App(
    name="dead", help="Dead letters: the failed tasks that regrow gave up. They can be looked at and queued again."
)
app.command(dead)
All = Annotated[bool, Parameter(name="--all", negative="")]
PATIENCE_S = 5.0  # with a gateway that does not answer: more than its restart takes, less than a person waits


@contextmanager
def letters(place: Place) -> Iterator["DeadLetters"]:
    """Those of the gateway at that place.  Raises ConfigError if no tree is found."""
    from regrow.gateway.client import Client

    with Client(place.gateway(), patience_s=PATIENCE_S) as client:
        yield client.dead_letters


@dead.command(name="list")
def listed(*, limit: int = 100, as_json: bool = False, place: Place = Place()) -> None:
    """List dead letters, newest first.

    Parameters
    ----------
    limit
        at most so many
    as_json
        print them as JSON
    """
    with letters(place) as found:
        newest = found.list(limit)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(newest)).decode())  # noqa: T201 (the command's output)
    elif newest:
        wide_console().print(table(newest))
    else:
        print("no dead letters")  # noqa: T201 (the command's output)


@dead.command
def show(task_id: str, /, *, as_json: bool = False, place: Place = Place()) -> None:
    """Show one: why it failed, each attempt, and what it printed.

    Parameters
    ----------
    as_json
        print it as JSON
    """
    with letters(place) as found:
        task = found.get(task_id)
    text = msgspec.json.format(msgspec.json.encode(task)).decode() if as_json else described(task)
    print(text)  # noqa: T201 (the command's output)


@dead.command
def requeue(*task_ids: str, every: All = False, place: Place = Place()) -> int:
    """Submit the same calls as new tasks, and print each letter's id with that of its new task.

    Parameters
    ----------
    every
        all of them
    """
    with letters(place) as found:
        return each(chosen(found, task_ids, every=every), lambda name: f"{name} {found.requeue(name)}")


@dead.command
def purge(*task_ids: str, every: All = False, place: Place = Place()) -> int:
    """Throw dead letters away. Their tasks stay FAILED; their parameters go.

    Parameters
    ----------
    every
        all of them
    """
    with letters(place) as found:
        if every and not task_ids:
            print(f"purged: {found.purge()}")  # noqa: T201 (the command's output)
            return 0
        return each(chosen(found, task_ids, every=every), lambda name: f"{name} purged {found.purge(name)}")


def chosen(found: "DeadLetters", task_ids: tuple[str, ...], *, every: bool) -> list[str]:
    """The ids that are meant.  Raises ConfigError unless it is the one or the other."""
    if bool(task_ids) == every:
        raise ConfigError("say which dead letters: their ids, or --all ('regrow dead list' shows them)")
    return [letter.task_id for letter in found.list()] if every else list(task_ids)


def each(names: list[str], act: Callable[[str], str]) -> int:
    """Do it with each, whatever becomes of the others; exit code 1 if one of them failed."""
    failed = 0
    for name in names:
        try:
            print(act(name))  # noqa: T201 (the command's output)
        except RegrowError as error:
            failed += 1
            sys.stderr.write(f"regrow: {error}\n")
    return 1 if failed else 0


def table(newest: list[LetterView]) -> Table:
    """One line for each."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("task", "failed at", "starts", "why"):
        shown.add_column(name, no_wrap=name != "why", justify="right" if name == "starts" else "left")
    for letter in newest:
        why = f"{letter.error.kind}: {letter.error.message}" if letter.error else ""
        shown.add_row(letter.task_id, when(letter.finished_at), str(letter.attempts), why.partition("\n")[0])
    return shown


def described(task: TaskView) -> str:
    """All that is known of one."""
    from regrow.gateway.endings import story

    lines = [f"task       {task.task_id}", f"function   {task.function_id}"]
    lines += [f"submitted  {when(task.submitted_at)}", f"failed     {when(task.finished_at)}"]
    lines += [f"attempt {attempt.number}  {told(attempt)}" for attempt in task.attempts]
    return "\n".join([*lines, story(task) if task.error else ""])


def told(attempt: AttemptView) -> str:
    """When, where, how long, and how it ended."""
    ran_s = (attempt.ended_at or 0) - (attempt.started_at or 0)
    took = f" after {ran_s:.1f} s" if attempt.ended_at and attempt.started_at else ""
    return f"{when(attempt.started_at)} on {attempt.worker}: {attempt.outcome or 'no outcome'}{took}"


def when(unix_s: float | None) -> str:
    """The local time of a clock's seconds."""
    return "" if unix_s is None else datetime.fromtimestamp(unix_s).astimezone().isoformat(" ", "seconds")
