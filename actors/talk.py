"""Core: a worker's count of what it has said to its dispatcher, and heard from it: whether anything was lost on the way."""

from dataclasses import dataclass

from regrow.actors import wire


@dataclass(slots=True)
class Talk:
    """``said``: so far, beats aside.  ``heard``: since the last Welcome, which is the first, reflections aside."""

    said: int = 0
    heard: int = 0

    def says(self, message: wire.FromWorker) -> None:
        """Count this, whether it leaves or not: what does not leave is lost as well."""
        if not isinstance(message, wire.Beat):
            self.said += 1

    def hears(self, message: wire.ToWorker, *, is_welcome: bool) -> bool:
        """Count this; whether it shows that something was lost, so that a new Hello is needed.

        A worker that waits for its Welcome takes only the answer to a beat for a sign that was sent after its Hello.
        """
        if isinstance(message, wire.Welcome):
            self.heard = 1
        elif not isinstance(message, wire.Reflect):
            self.heard += 1
        elif message.sent is not None:
            return message.sent != self.heard if is_welcome else message.heard == self.said
        return False
