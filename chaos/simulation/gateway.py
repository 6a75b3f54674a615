"""Core: a gateway's process on paper, and the client: submits, cancels, and asks again until it is answered."""

from collections.abc import Callable
from functools import partial
from typing import Final, cast

from regrow.actors.records import CancelVerdict, SubmitVerdict
from regrow.actors.task import TaskId
from regrow.chaos.simulation.chance import Chance
from regrow.chaos.simulation.clock import Callback, Clock
from regrow.chaos.simulation.process import Process
from regrow.chaos.simulation.server import Line
from regrow.chaos.simulation.store_record import Submission

MAX_QUEUED: Final = 1_000_000
PATIENCE_S: Final = 8.0  # of the client, with one request
AGAIN_S: Final = 0.3
Reply = Callable[[object], None]


class Gateway(Process):
    """One incarnation."""

    def __init__(self, clock: Clock, name: str, line: Callable[[Process], Line]) -> None:
        super().__init__(clock, name)
        self.line = line(self)
        self.is_open = False

    def submit(self, tasks: list[Submission], reply: Reply) -> None:
        """503 is None."""
        self.hear(lambda: self.line.call(lambda store: store.submit(tasks, MAX_QUEUED), reply, lambda: reply(None)))

    def cancel(self, task_ids: list[TaskId], reply: Reply) -> None:
        """503 is None."""
        self.hear(lambda: self.line.call(lambda store: store.cancel(task_ids), reply, lambda: reply(None)))


class Client:
    """Submits tasks once, however often it has to ask."""

    def __init__(
        self,
        clock: Clock,
        gateways: Callable[[], list[Gateway]],
        dice: Chance,
        accepted: Callable[[list[Submission]], None],
        cancelled: Callable[[TaskId, CancelVerdict], None],
        saw: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._gateways = gateways
        self._dice = dice
        self._accepted = accepted
        self._cancelled = cancelled
        self._saw = saw
        self._waiting: list[Callback] = []

    def submit(self, tasks: list[Submission]) -> None:
        """Have these done."""
        self._ask(lambda gateway, reply: gateway.submit(tasks, reply), partial(self._submitted, tasks))

    def cancel(self, task_id: TaskId) -> None:
        """Nobody wants this one any more."""

        def answered(answer: object) -> None:
            self._cancelled(task_id, cast("list[CancelVerdict]", answer)[0])

        self._ask(lambda gateway, reply: gateway.cancel([task_id], reply), answered)

    def _submitted(self, tasks: list[Submission], answer: object) -> None:
        verdicts = cast("list[SubmitVerdict]", answer)
        if SubmitVerdict.REPEATED in verdicts:
            self._saw("submit repeated")
        self._accepted(
            [task for task, verdict in zip(tasks, verdicts, strict=True) if verdict is not SubmitVerdict.QUEUE_FULL]
        )
        refused = [task for task, verdict in zip(tasks, verdicts, strict=True) if verdict is SubmitVerdict.QUEUE_FULL]
        if refused:
            self._clock.after(AGAIN_S, partial(self.submit, refused))

    def _open_gateways(self) -> list[Gateway]:
        return [gateway for gateway in self._gateways() if gateway.is_open]

    def _wait(self, callback: Callback) -> None:
        """Until there may be a gateway."""
        if not self._waiting:
            self._clock.after(AGAIN_S, self._try_again)
        self._waiting.append(callback)

    def _try_again(self) -> None:
        if not self._open_gateways():
            self._clock.after(AGAIN_S, self._try_again)
            return
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()

    def _ask(self, ask: Callable[[Gateway, Reply], None], answered: Reply) -> None:
        """Until it is answered; nobody knows what became of a request that was not."""
        is_over = False

        def again() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self._clock.after(AGAIN_S * self._dice.random(), partial(self._ask, ask, answered))

        def reply(answer: object) -> None:
            nonlocal is_over
            if answer is None:
                self._saw("503")
                again()
            elif not is_over:
                is_over = True
                answered(answer)

        gateways = self._open_gateways()
        if not gateways:
            self._wait(partial(self._ask, ask, answered))
            return
        gateway = gateways[self._dice.randrange(len(gateways))]
        ask(gateway, reply)
        self._clock.after(PATIENCE_S, again)
