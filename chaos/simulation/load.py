"""Core: which tasks are submitted when, and which are cancelled."""

from functools import partial
from typing import Final

from regrow.actors.limits import Limits, Retry
from regrow.actors.task import MAX_ATTEMPTS, Digest, TaskId
from regrow.chaos.simulation.chance import Chance
from regrow.chaos.simulation.clock import Clock
from regrow.chaos.simulation.gateway import Client
from regrow.chaos.simulation.scenario import Scenario
from regrow.chaos.simulation.store_record import Submission
from regrow.chaos.simulation.task_plan import Kind, Life

AT_ONCE: Final = 20  # arrivals that are planned ahead
RUNS_S: Final = {
    Kind.NOOP: (20e-6, 200e-6),
    Kind.SHORT: (1e-3, 20e-3),
    Kind.MEDIUM: (0.05, 2.0),
    Kind.LONG: (3.0, 12.0),
    Kind.SLOW: (15.0, 40.0),
    Kind.ONCE: (0.05, 4.0),
}
ORDINARY_S: Final = (1e-3, 0.5)
HANGS_S: Final = 1.0  # limit of a task that hangs
RETRY: Final = Retry(count=3, backoff_s=0.2, jitter=0.2)


class Load:
    """Tasks over the time of the chaos: one by one, or in bursts."""

    def __init__(self, scenario: Scenario, clock: Clock, lives: dict[int, Life], client: Client) -> None:
        self.submitted = 0
        self._scenario = scenario
        self._clock = clock
        self._lives = lives
        self._client = client
        self._dice = Chance(f"load {scenario.seed}")
        self._kinds = [Kind(kind) for kind in scenario.mix]
        self._shares = list(scenario.mix.values())
        self._gap_s = scenario.chaos_s / max(1, scenario.tasks)

    @property
    def is_done(self) -> bool:
        """All has been submitted."""
        return self.submitted >= self._scenario.tasks

    def begin(self) -> None:
        """From now on."""
        self._clock.after(0.5, self._arrive)

    def _arrive(self) -> None:
        left = self._scenario.tasks - self.submitted
        if left <= 0:
            return
        count = min(left, self._dice.randint(1, self._scenario.burst))
        self._client.submit([self._make() for _ in range(count)])
        self._clock.after(count * self._gap_s * self._dice.expovariate(1.0), self._arrive)

    def _make(self) -> Submission:
        dice = self._dice
        number = self.submitted
        self.submitted += 1
        kind = dice.choices(self._kinds, self._shares)[0]
        runs_s = dice.uniform(*RUNS_S.get(kind, ORDINARY_S))
        limit = 1 if kind is Kind.ONCE else MAX_ATTEMPTS
        self._lives[number] = Life(number, kind, runs_s, limit)
        if dice.random() < self._scenario.cancelled:
            self._clock.after(3 * dice.random(), partial(self._client.cancel, TaskId(str(number))))
        return Submission(
            TaskId(str(number)),
            Digest(f"{kind}-{number % 3}"),
            b"%d" % number,
            limit,
            retry=RETRY if kind is Kind.RETRIED else None,
            limits=Limits(wall_s=HANGS_S) if kind is Kind.HANGS else None,
            delay_s=3 * dice.random() if kind is Kind.DELAYED else 0.0,
            expires_s=dice.random() if kind is Kind.EXPIRES else None,
            deadline_s=2 * dice.random() if kind is Kind.DEADLINE else None,
        )
