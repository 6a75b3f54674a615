"""Shell: the two threads through which a dispatcher speaks with its store, so that its own loop never waits for it.

- One thread makes the calls, in the order in which they were asked for.  A call that finds the store away is repeated
  as it was, with growing pauses, until it is answered: every script gives the same answer twice.  Then, before the next
  call, the leases are read afresh (StoreBack), so that the dispatcher can bring its table in step.
- The other waits for hints that something was queued.

What happens is handed to ``deliver``, on these threads.  An error that repeating cannot help is handed over as it is, and
ends the thread.
Both threads are daemons: a process that ends does not wait for a store that is away.
"""

import queue
import random
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar, assert_never

import msgspec

from regrow.actors import stimuli
from regrow.actors.facts import StoreFacts
from regrow.actors.records import DispatcherRecord
from regrow.actors.stimuli import Stimulus, StoreEffect
from regrow.actors.store import Store
from regrow.actors.task import WorkerRecord
from regrow.actors.wakes import Hint
from regrow.actors.wire import BATCH_BYTES
from regrow.runtime.backoff import delay_s
from regrow.runtime.errors import StoreUnavailable
from regrow.runtime.spec import Backoff

HINTS: Final[dict[Hint, Stimulus]] = {
    Hint.WORK: stimuli.Woken(),
    Hint.DUE: stimuli.TimersChanged(),
    Hint.DROPS: stimuli.DropsWaiting(),
}
RETRY: Final = Backoff(min_s=0.02, max_s=1.0)  # pauses between tries of one call
CLAIM_BYTES: Final = 4 * BATCH_BYTES  # parameters per claim, unless one task alone has more
CLOSE_S: Final = 1.0  # how long ``close`` waits for each thread

T = TypeVar("T")


class Pulse(msgspec.Struct, frozen=True):
    """Show life; answered by Pulsed."""

    dispatcher: DispatcherRecord
    workers: list[WorkerRecord]


class Record(msgspec.Struct, frozen=True):
    """Put these happenings of the supervision tree ``tree`` on record, numbered from ``first``; answered by Recorded."""

    tree: str
    first: int
    happenings: tuple[bytes, ...]


class Recorded(msgspec.Struct, frozen=True):
    """All happenings up to this number are on record."""

    last: int


class Farewell(msgspec.Struct, frozen=True):
    """Give back what is under lease and deregister; answered by Departed."""


class Departed(msgspec.Struct, frozen=True):
    """The store knows that this dispatcher has gone."""


Request = StoreEffect | Pulse | Record | Farewell
Delivery = Stimulus | Recorded | Departed | Exception


class _ClosedError(Exception):
    """The thread is to end."""


class StoreThread:
    """Owns the Store of one dispatcher.  ``ask`` from any thread.  ``series``: of the claims that this incarnation makes."""

    def __init__(self, store: Store, dispatcher: str, series: str, deliver: Callable[[Delivery], None]) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._series = series
        self._deliver = deliver
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._wakes = store.wakes()
        self._threads = [
            threading.Thread(target=self._serve, name="store-calls", daemon=True),
            threading.Thread(target=self._listen, name="store-wakes", daemon=True),
        ]

    def start(self) -> None:
        """Begin; the first delivery is StoreBack, once the store answers."""
        for thread in self._threads:
            thread.start()

    def ask(self, request: Request) -> None:
        """Make this call when its turn comes."""
        self._requests.put(request)

    def close(self) -> None:
        """End both threads; what was not answered is left undone."""
        self._closing.set()
        self._requests.put(None)
        self._wakes.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(CLOSE_S)

    def _serve(self) -> None:
        try:
            facts, _ = self._until_answered(self._store.check)
            self._reread(facts)
            while (request := self._requests.get()) is not None:
                answer, was_away = self._until_answered(partial(self._call, request))
                while answer is None:
                    self._reread(facts)
                    answer, was_away = self._until_answered(partial(self._call, request))
                self._deliver(answer)
                if was_away:
                    self._reread(facts)
        except _ClosedError:
            pass
        except Exception as error:  # noqa: BLE001 (the thread's outermost frame: the loop raises it, or nobody would know)
            self._deliver(error)
        finally:
            self._store.close()

    def _listen(self) -> None:
        for hints in self._wakes:
            for hint in hints:
                self._deliver(HINTS[hint])

    def _reread(self, facts: StoreFacts) -> None:
        self._until_answered(lambda: self._store.begin(self._dispatcher, self._series))
        held, _ = self._until_answered(lambda: self._store.leases(self._dispatcher))
        self._deliver(stimuli.StoreBack(held, facts.durability, facts.is_durable))

    def _until_answered(self, call: Callable[[], T]) -> tuple[T, bool]:
        """The call's answer, and whether it had to be repeated."""
        failures = 0
        while not self._closing.is_set():
            try:
                return call(), failures > 0
            except StoreUnavailable as error:
                failures += 1
                if failures == 1:
                    self._deliver(stimuli.StoreLost(str(error)))
                self._closing.wait(delay_s(RETRY, failures, random.random()))
        raise _ClosedError

    def _call(self, request: Request) -> Stimulus | Recorded | Departed | None:
        """None: the store takes us for a former incarnation, whose beginning has come late.  We begin again, and call again."""
        store, us = self._store, self._dispatcher
        match request:
            case stimuli.Claim(claim_id, shares, expected_s):
                claim = store.claim(us, claim_id, shares, expected_s, CLAIM_BYTES)
                return None if claim.is_refused else stimuli.ClaimAnswered(claim.tasks, claim.left)
            case stimuli.Settle(settlements):
                return stimuli.SettleAnswered(store.settle(us, settlements))
            case stimuli.FetchCode(digests):
                return stimuli.CodeFetched(store.code(digests))
            case stimuli.Inherit(former):
                store.begin(us, self._series)
                return stimuli.Inherited(former, store.inherit(us, former))
            case stimuli.Promote():
                return stimuli.Promoted(*store.promote())
            case stimuli.FetchDrops():
                return stimuli.Dropped(store.drops(us))
            case stimuli.ReadLeases():
                return stimuli.LeasesRead(store.leases(us))
            case stimuli.Scan(cursor):
                return stimuli.Scanned(store.scan(cursor))
            case stimuli.Walk(position):
                return stimuli.Walked(store.walk(position))
            case stimuli.Mend(suspects, close):
                return stimuli.PutBack(store.mend(us, suspects, close))
            case Pulse(dispatcher, workers):
                pulse = store.beat(dispatcher, workers)
                return stimuli.Pulsed(pulse.queued, pulse.silent, pulse.signs, pulse.has_leases_back, pulse.leases)
            case Record(tree, first, happenings):
                store.record(tree, first, happenings)
                return Recorded(first + len(happenings) - 1)
            case Farewell():
                store.farewell(us)
                return Departed()
            case _:
                assert_never(request)
