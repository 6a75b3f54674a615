"""An actor that follows the root of its tree and writes down what it is told: one line per happening, number first."""

from pathlib import Path

import msgspec

from regrow.runtime.actor import Actor, NoArguments
from regrow.runtime.tree import Follow, Happening, News


class FollowerArguments(msgspec.Struct, frozen=True):
    """``file`` takes the lines; ``whom`` is followed."""

    file: str
    whom: str = "root"


class Follower(Actor[FollowerArguments, News]):
    """It goes on after a restart where its file ends."""

    arguments_type = FollowerArguments
    message_type = News

    def on_start(self) -> None:
        file = Path(self.arguments.file)
        lines = file.read_text().splitlines() if file.exists() else []
        self.context.cast(self.arguments.whom, Follow(int(lines[-1].split()[0]) if lines else 0))

    def on_message(self, news: News, _sender: str) -> None:
        with Path(self.arguments.file).open("a") as file:
            for number, what in enumerate(news.happenings, news.first):
                file.write(f"{number} {what.event} {what.path} {what.incarnation} {what.pid} {what.reason}\n")
        self.context.cast(self.arguments.whom, Follow(news.last))


class Liar(Actor[NoArguments, None]):
    """Tells of one below it, and of one that is not."""

    def on_start(self) -> None:
        for path in (f"{self.context.path}/slot", "root/mid/invented"):
            self.context.tell([Happening(1.0, "child.down", path, 1)])
