"""Core: the delay before a restart, and when to stop trying.

Theory of operation
    A child that worked and then died is started again at once: waiting would only lengthen the outage. A child that
    dies before it is ready, or right after, will most likely do so again, so the delay grows along such a run of
    starts, and the run as a whole is a reason to give up. The restart budget alone would not end it: the delays
    spread the attempts too thinly to exhaust it.

    The run ends as soon as a child has been ready for ``reset_after_s``, bound included. How it ended then makes no
    difference. An end that came from outside (SIGKILL, or a stop that its supervisor did not ask for) says nothing of
    whether the child can work: it neither lengthens the run nor ends it. So a kill per second is survived for ever, also
    by a child whose start takes most of that second; only the restart budget speaks there.
"""

from dataclasses import dataclass

from regrow.runtime.spec import Backoff, ExitReason


def delay_s(backoff: Backoff, length: int, spread: float) -> float:
    """Seconds to wait after ``length`` bad starts in a row; none after a good one.

    ``spread`` in [0, 1) places the delay within ``+/- backoff.jitter`` of its mean; ``max_s`` bounds the mean.
    """
    if length == 0:
        return 0.0
    try:
        mean = min(backoff.max_s, backoff.min_s * backoff.factor ** (length - 1))
    except OverflowError:
        mean = backoff.max_s
    return mean * (1.0 + backoff.jitter * (2.0 * spread - 1.0))


@dataclass(slots=True)
class CrashLoop:
    """The run of bad starts that a child is in. ``length`` counts them; 0 is health."""

    backoff: Backoff
    length: int = 0

    def record(self, ready_at: float | None, reason: ExitReason, now: float) -> None:
        """A life ended at ``now`` for this reason; it had been ready since ``ready_at`` (None: never)."""
        if ready_at is not None and now - ready_at >= self.backoff.reset_after_s:
            self.length = 0
        elif not reason.is_from_outside:
            self.length += 1

    def delay_s(self, spread: float) -> float:
        """Seconds to wait before the next start."""
        return delay_s(self.backoff, self.length, spread)

    @property
    def is_hopeless(self) -> bool:
        """Whether enough starts in a row have gone bad to give up."""
        return self.length >= self.backoff.give_up_after
