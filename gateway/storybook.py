"""Shell: the story of a task as a person sees it on a terminal."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from regrow.actors.task import Move, State
from regrow.gateway.answers import LineView, StoryAnswer
from regrow.gateway.story import FAULT, WORKER_DOWN

COLOURS: Final[Mapping[str, str]] = {
    Move.SUCCEED: "green",
    WORKER_DOWN: "red",
    FAULT: "magenta",
    Move.FAIL: "red",
    Move.GIVE_UP: "red",
    Move.EXPIRE: "red",
    Move.CANCEL: "red",
    Move.CRASH: "yellow",
    Move.OOM: "yellow",
    Move.RETRY: "yellow",
    Move.LOSE_WORKER: "yellow",
    Move.GIVE_BACK: "yellow",
}
STATES: Final[Mapping[State, str]] = {State.COMPLETED: "green", State.FAILED: "red"}


def page(story: StoryAnswer) -> Group:
    """A heading, and one line per event: seconds since the submit, the move, and what it means."""
    began = story.events[0].at if story.events else 0.0
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in story.events:
        table.add_row(f"{line.at - began:+.3f} s", Text(line.move, style=COLOURS.get(line.move, "")), line.text)
    return Group(heading(story, story.events), table)


def heading(story: StoryAnswer, events: list[LineView]) -> Text:
    """``task 05e0dea6...  COMPLETED  2026-11-24 13:39:55``"""
    text = Text("task ")
    text.append(story.task_id, style="bold")
    text.append(f"  {story.status}", style=STATES.get(story.status, "yellow"))
    if events:
        text.append(f"  {datetime.fromtimestamp(events[0].at):%Y-%m-%d %H:%M:%S}", style="dim")
    return text


def show(console: Console, story: StoryAnswer) -> None:
    """Print it."""
    console.print(page(story))
