"""Core: who has been silent for too long.

Theory of operation
    A child is due ``heartbeat.window_s`` seconds after its last beat. It is overdue from that very moment on (bound
    included), so a timer set to ``next_deadline()`` finds it: nothing is swept, and a hang is declared exactly one
    window after the last beat. A beat that lies unread in a mailbox counts for nothing: drain it before asking.

    Each silence is declared once. A child that was named by ``overdue`` is not watched any more until it beats again,
    so a caller that has decided to let it be (it is already stopping, say) does not get a deadline in the past for
    ever.

    A supervisor that did not run itself (it was stopped, its machine slept) has heard nobody, and that says nothing
    about anybody. When it wakes later than it asked for by more than a bound of its choice, it calls ``excuse`` before
    ``overdue``: everyone counts as having beaten just now and has one whole window to show it.
"""

from regrow.runtime.spec import Heartbeat

NEVER = float("inf")


class Liveness:
    """The last beats of some children, in monotonic seconds. ``heartbeat`` holds for children without their own."""

    def __init__(self, heartbeat: Heartbeat | None = Heartbeat()) -> None:  # noqa: B008 (a frozen value)
        self._heartbeat = heartbeat
        self._windows: dict[str, float] = {}  # seconds of silence allowed; inf: never judged
        self._due: dict[str, float] = {}

    def watch(self, child: str, heartbeat: Heartbeat | None, now: float) -> None:
        """Judge ``child`` by its own ``heartbeat`` from now on (None: never); counts as a beat."""
        self._windows[child] = _window_s(heartbeat)
        self.beat(child, now)

    def beat(self, child: str, now: float) -> None:
        """``child`` gave a sign of life at ``now``."""
        window_s = self._windows.setdefault(child, _window_s(self._heartbeat))
        if window_s != NEVER:
            self._due[child] = now + window_s

    def forget(self, child: str) -> None:
        """``child`` is gone, or is not to be judged any more. Unknown names are fine."""
        self._windows.pop(child, None)
        self._due.pop(child, None)

    def overdue(self, now: float) -> list[str]:
        """Children silent for a whole window, longest first. Each is named once, until it beats again."""
        silent = sorted((child for child, due in self._due.items() if due <= now), key=self._silence_began)
        for child in silent:
            del self._due[child]
        return silent

    def next_deadline(self) -> float | None:
        """When the next child will be overdue if it stays silent; None: nobody is watched."""
        return min(self._due.values(), default=None)

    def excuse(self, now: float) -> None:
        """This supervisor itself was away: hold no silence before ``now`` against anyone."""
        for child in self._due:
            self._due[child] = now + self._windows[child]

    def _silence_began(self, child: str) -> float:
        return self._due[child] - self._windows[child]


def _window_s(heartbeat: Heartbeat | None) -> float:
    return NEVER if heartbeat is None else heartbeat.window_s
