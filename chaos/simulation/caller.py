"""Core: a dispatcher's calls to the store, one at a time and repeated until they are answered, as ``actors/store_thread.py`` makes
them.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import cast

import msgspec

from regrow.actors import stimuli
from regrow.actors.claims import Claim
from regrow.actors.records import Held, Pulse
from regrow.actors.stimuli import StoreEffect
from regrow.actors.task import Drop, Move, Settlement, Verdict
from regrow.chaos.simulation.chance import Chance
from regrow.chaos.simulation.pace import STORE_RETRY
from regrow.chaos.simulation.process import Process
from regrow.chaos.simulation.server import Line
from regrow.chaos.simulation.store import ModelStore
from regrow.runtime.backoff import delay_s


class Beat(msgspec.Struct, frozen=True):
    """Show life; answered by Pulsed."""


class Farewell(msgspec.Struct, frozen=True):
    """Give back what is under lease and deregister; answered by Departed."""


class Departed(msgspec.Struct, frozen=True):
    """The store knows that this dispatcher has gone."""


Request = StoreEffect | Beat | Farewell
Delivery = stimuli.Answer | stimuli.StoreLost | Departed


class Caller:
    """``deliver`` is told what happened, in order."""

    def __init__(
        self,
        owner: Process,
        line: Line,
        dispatcher: str,
        series: str,
        deliver: Callable[[Delivery], None],
        dice: Chance,
    ) -> None:
        self._owner = owner
        self._line = line
        self._name = dispatcher
        self._series = series
        self._deliver = deliver
        self._dice = dice
        self._requests: deque[Request] = deque()
        self._is_busy = True

    @property
    def is_idle(self) -> bool:
        """Nothing is asked for or under way."""
        return not (self._is_busy or self._requests)

    def begin(self) -> None:
        """The first delivery is StoreBack, once the store answers."""
        self._reread()

    def ask(self, request: Request) -> None:
        """Make this call when its turn comes."""
        self._requests.append(request)
        if not self._is_busy:
            self._next()

    def _next(self) -> None:
        self._is_busy = bool(self._requests)
        if self._requests:
            request = self._requests.popleft()
            self._until_answered(
                partial(carry_out, request, self._name, self._series), partial(self._answered, request)
            )

    def _answered(self, request: Request, answer: object, *, was_away: bool) -> None:
        match answer:
            case None:  # refused: a former incarnation's beginning has come late
                self._requests.appendleft(request)
                self._reread()
            case stimuli.Dropped(drops) if drops:
                forget = partial(_forget, drops, self._name)
                self._until_answered(forget, partial(self._forgotten, answer, was_away))
            case _:
                self._go_on(cast("Delivery", answer), was_away=was_away)

    def _forgotten(self, delivery: Delivery, was_away_before: bool, _: object, *, was_away: bool) -> None:
        self._go_on(delivery, was_away=was_away or was_away_before)

    def _go_on(self, delivery: Delivery, *, was_away: bool) -> None:
        self._deliver(delivery)
        if was_away:
            self._reread()
        else:
            self._next()

    def _reread(self) -> None:
        self._is_busy = True
        self._until_answered(lambda store: store.begin(self._name, self._series), self._begun)

    def _begun(self, answer: object, *, was_away: bool) -> None:  # noqa: ARG002
        self._until_answered(lambda store: store.leases_of(self._name), self._reread_answered)

    def _reread_answered(self, answer: object, *, was_away: bool) -> None:  # noqa: ARG002
        self._deliver(stimuli.StoreBack(cast("list[Held]", answer)))
        self._next()

    def _until_answered(
        self, operation: Callable[[ModelStore], object], then: Callable[..., None], failures: int = 0
    ) -> None:
        answered = partial(then, was_away=failures > 0)
        self._line.call(operation, answered, partial(self._again, operation, then, failures + 1))

    def _again(self, operation: Callable[[ModelStore], object], then: Callable[..., None], failures: int) -> None:
        if failures == 1:
            self._deliver(stimuli.StoreLost("cut"))
        pause_s = delay_s(STORE_RETRY, failures, self._dice.random())
        self._owner.after(pause_s, partial(self._until_answered, operation, then, failures))


def carry_out(request: Request, us: str, series: str, store: ModelStore) -> Delivery | None:
    """The call, in the store.  None: refused."""
    match request:
        case stimuli.Claim(claim_id, shares, expected_s):
            claim: Claim = store.claim(us, claim_id, shares, expected_s)
            return None if claim.is_refused else stimuli.ClaimAnswered(claim.tasks, claim.left)
        case stimuli.Settle(settlements):
            verdicts: list[Verdict] = store.settle(us, settlements)
            return stimuli.SettleAnswered(verdicts)
        case stimuli.FetchCode(digests):
            return stimuli.CodeFetched(dict.fromkeys(digests, b"code"))
        case stimuli.Inherit(former):
            store.begin(us, series)
            return stimuli.Inherited(former, _inherit(store, us, former, series))
        case stimuli.ReadLeases():
            return stimuli.LeasesRead(store.leases_of(us))
        case stimuli.Promote():
            return stimuli.Promoted(*store.promote())
        case stimuli.FetchDrops():
            drops: list[Drop] = store.drops(us)
            return stimuli.Dropped(drops)
        case Beat():
            pulse: Pulse = store.beat(us)
            return stimuli.Pulsed(pulse.queued, pulse.silent, leases=pulse.leases)
        case Farewell():
            _take_leave(store, us)
            return Departed()
        case stimuli.Scan() | stimuli.Walk() | stimuli.Mend():
            raise AssertionError("the model of the store is never damaged, so nothing is searched for")


def _forget(seen: list[Drop], us: str, store: ModelStore) -> None:
    store.dropped(us, seen)


def _inherit(store: ModelStore, us: str, former: str, series: str) -> list[Held]:
    taken: list[Held] = []
    left = 1
    while left:
        left, some = store.inherit(us, former, series)
        taken += some
    return taken


def _take_leave(store: ModelStore, us: str) -> None:
    to_return = [
        Settlement(held.task_id, held.attempt, Move.GIVE_BACK, held.worker)
        for held in store.leases_of(us)
        if store.may_run_again(held.task_id)
    ]
    store.settle(us, to_return)
    store.deregister(us)
